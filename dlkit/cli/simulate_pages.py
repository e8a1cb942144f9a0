"""dlkit simulate pages, dlkit simulate crops"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.paper import Digits
    from dlkit.reading.finder import Network

_Digits = Annotated[
    str,
    typer.Option(
        help="Digits to write with: mnist-mini (bundled), mnist, or a folder of MNIST's files."
    ),
]
_Part = Annotated[str, typer.Option(help="Which of them: test or train.")]
_Seed = Annotated[int, typer.Option(min=0, help="Of the first page; the next have the next seeds.")]


def pages(
    out: Annotated[
        Path, typer.Option(help="Folder that gets the pages and pages.json.", show_default=False)
    ],
    kind: Annotated[
        str,
        typer.Option(
            help="plain, ruled, margin, squared, boxes, form, desk, shadow, marks; any mixes them."
        ),
    ] = "any",
    count: Annotated[int, typer.Option(min=1, max=_options.COUNT, help="Pages.")] = 20,
    seed: _Seed = 0,
    pen: Annotated[
        str, typer.Option(help="mnist: MNIST's strokes; thin, marker: drawn anew; any.")
    ] = "any",
    touching: Annotated[
        float, typer.Option(min=0, max=1, help="Share of neighbouring digits that touch.")
    ] = 0.0,
    digits: _Digits = "mnist-mini",
    part: _Part = "test",
) -> None:
    """Simulate pages of handwritten digits, with what is written on them.

    OUT gets a PNG file for each page, named by its seed, and pages.json: of each
    page its kind, its pen and its lines, each with its text and its signs, each
    sign with its box.
    """
    from dlkit.cli._console import notes
    from dlkit.cli._unfinished import filling
    from dlkit.paper.folder import check_names, write_pages

    check_names(kind, pen)
    console, source = notes(), _digits(digits, part)
    options = ["--kind", kind, "--count", str(count), "--seed", str(seed), "--pen", pen,
               "--touching", str(touching), "--digits", digits, "--part", part]  # fmt: skip
    with filling(out, ("dlkit", "simulate", "pages", "--out"), options, console):
        written = write_pages(out, source, range(seed, seed + count), kind, pen, touching)
    console.print(f"{count} pages, {written} digits, seeds {seed} to {seed + count - 1}",
                  highlight=False)  # fmt: skip
    typer.echo(out)


def crops(
    out: Annotated[Path, typer.Option(help="File, .npz.", show_default=False)],
    count: Annotated[
        int,
        typer.Option(min=6, max=_options.COUNT, help="Crops to train on; a tenth as many to test."),
    ] = (160_000),
    seed: _Seed = 0,
    digits: _Digits = "mnist-mini",
    finder: Annotated[
        str, typer.Option(help="Bundle that finds signs on the pages.")
    ] = "digit_finder",
    workers: Annotated[
        int,
        typer.Option(min=0, max=_options.THREADS, help="Processes; 0 is one for each processor."),
    ] = 0,
    overwrite: _options.Replace = False,
) -> None:
    """Cut what a finder finds on simulated pages: what the recipe `reader` is trained on."""
    from dlkit.atomic import check_file, check_new, check_writable
    from dlkit.bundle import Bundle
    from dlkit.paper.folder import write_arrays
    from dlkit.tasks.recognize.paper import FINDER, check_form
    from dlkit.tasks.recognize.paper_crops import labelled_crops

    check_file(out)
    check_new(out, overwrite)
    check_writable(out.resolve().parent)
    check_form(Bundle.open(finder), FINDER)
    made = labelled_crops(_digits(digits, "train"), _digits(digits, "test"), count, seed,
                          partial(_open, finder), workers)  # fmt: skip
    write_arrays(out, made)
    typer.echo(out)


def _open(bundle: str) -> Network:
    from dlkit.bundle import Bundle
    from dlkit.runtime.session import open_session

    return open_session(Bundle.open(bundle), threads=1).session


def _digits(name: str, part: str) -> Digits:
    from dlkit.errors import UsageError
    from dlkit.paper import Digits
    from dlkit.tasks.recognize.datasets import load_labelled

    if part not in ("test", "train"):
        raise UsageError(f"there is no part '{part}'", "Use test or train")
    found = load_labelled(name)
    if not found.digits:
        raise UsageError(f"{name} has no digits in MNIST's form", "Use mnist-mini, or mnist")
    return Digits(getattr(found, f"{part}_images"), getattr(found, f"{part}_labels"))
