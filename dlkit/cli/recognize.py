"""dlkit recognize"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.runtime.folder import Source
    from dlkit.runtime.folder_run import Line, Tally
    from dlkit.runtime.pages.page import Digit, Page
    from dlkit.runtime.pipeline import Result
    from dlkit.runtime.table import Table
    from dlkit.runtime.tasks.recognize import Prediction

EXAMPLE = "Example:  dlkit recognize scans/ --out digits.csv --annotate seen/ --reject 0.9"

_LARGE = 1 << 14  # bytes
_PHOTOGRAPHS = 4  # that a worker takes at once: finding digits takes longer than recognizing them


def command(
    inputs: _options.Inputs,
    model: Annotated[str, typer.Option(help="Bundle: a folder, or the name of a shipped one.")] = (
        "digits"
    ),
    out: Annotated[
        Path, typer.Option(help="Table of results; .jsonl gives JSON lines, else CSV.")
    ] = Path("predictions.csv"),
    mode: Annotated[
        str,
        typer.Option(help="single: one digit an image; page: lines of them; auto: as it looks."),
    ] = "auto",
    annotate: Annotated[
        Path | None, typer.Option(help="Folder of pictures with boxes and what was read.")
    ] = None,
    reject: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Mark digits below this probability as unsure."),
    ] = None,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
    batch: _options.Batch = None,
    workers: _options.Workers = None,
    overwrite: _options.Overwrite = False,
    watch: _options.Watch = False,
    dry_run: _options.DryRun = False,
    fail_fast: _options.FailFast = False,
    require_certificate: _options.RequireCertificate = False,
) -> None:
    """Recognize handwritten digits: MNIST's squares, photographs, pages.

    Images of 28 x 28 go to the network as they are. In others digits are found:
    dark or bright, in any light, tilted by up to 10 degrees, touching. The table
    has a row a digit, with its line, its place in it and its box; or, where OUT
    ends in .jsonl, an object an image.

    Arrays of many images are taken too: .npy and .npz (N, 28, 28) and MNIST's
    IDX files, at memory speed. A second run goes on where the first stopped,
    and redoes what changed: OUT.manifest.jsonl says what was done.
    """
    from rich.console import Console

    from dlkit import images
    from dlkit.cli import _folder, _load
    from dlkit.errors import UsageError
    from dlkit.runtime import arrays, folder, table
    from dlkit.runtime.pages.annotate import picture, whole
    from dlkit.runtime.pages.page import Page
    from dlkit.runtime.pages.reading import MODES
    from dlkit.runtime.pipeline import FileWork, Runner

    console = Console(stderr=True)
    folder.check(inputs)
    if mode not in MODES:
        raise UsageError(f"there is no mode '{mode}': expected {', '.join(MODES)}")
    if annotate is not None:
        if any(annotate.resolve() in (path.resolve(), path.resolve().parent) for path in inputs):
            raise UsageError(f"--annotate {annotate} is where the inputs are; choose another")
        if annotate.exists() and not annotate.is_dir():
            raise UsageError(f"--annotate {annotate} is a file, expected a folder")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder, expected a file such as {out}/predictions.csv")

    def files() -> Iterator[Source]:
        found = folder.sources(inputs, annotate)
        return (source for source in found if not arrays.is_array(source.name))

    def array_files() -> Iterator[Source]:
        found = folder.sources(inputs, wanted=arrays.is_array)
        return (source for source in found if arrays.is_array(source.name))

    if not watch and next(files(), None) is None and next(array_files(), None) is None:
        _load.nothing(inputs, {*images.SUFFIXES, ".npy", ".npz", "-ubyte"})
    loaded = _load.load_model(
        "recognize",
        model,
        backend,
        device,
        batch,
        workers,
        require_certificate,
        files(),
        watch or next(array_files(), None) is not None,
        console,
        _PHOTOGRAPHS if mode == "page" or _large(files()) else None,
    )
    if not dry_run:
        _load.writable(out.resolve().parent)
        if annotate is not None:
            _load.writable(annotate)
    runner = Runner(loaded.model, loaded.model.opened.session, loaded.batch)
    height, width = loaded.model.bundle.spec.input.shape[1:]
    array_work = arrays.ArrayWork(runner, (int(height), int(width)))

    def more(tally: Tally, rows: Table | None) -> Iterator[object]:
        if watch or rows is None:
            return  # arrays are done whole, not watched
        labels = loaded.model.bundle.spec.labels
        for source in array_files():
            for part in arrays.answers(array_work, source, labels, loaded.workers, tally):
                rows.add(part)
                yield None

    def drawn(source: Source) -> Path:
        assert annotate is not None
        path = annotate / source.name
        return path if path.suffix.lower() != ".pgm" else path.with_name(path.name + ".png")

    def draw(source: Source, answer: Prediction | Page) -> None:
        image = loaded.model.decode(images.read_bytes(source.path)[0], source.path)
        page = answer if isinstance(answer, Page) else whole(answer, image.shape)
        images.write(drawn(source), picture(image, page, reject))

    form = table.Form(pages=mode != "single", reject=reject)
    job = _folder.Job(
        loaded=loaded,
        work=FileWork(
            runner, draw if annotate is not None else None, True, loaded.model.whole(mode)
        ),
        sources=files,
        manifest=out.with_name(out.name + ".manifest.jsonl"),
        there=lambda source: annotate is None or drawn(source).is_file(),
        line=_line,
        table=lambda: table.open_table(out, form),
        more=more,
        # Pictures show which digits are unsure.
        setting=mode if annotate is None else f"{mode} {reject}",
    )
    code = _folder.execute(job, _folder.Flags(overwrite, watch, dry_run, fail_fast), console)
    if reject is not None and not dry_run:
        console.print(
            f"{form.unsure} of {form.digits} digits unsure: probability below {reject:g}",
            highlight=False,
        )
    typer.echo(out)
    raise typer.Exit(code)


def _line(result: Result) -> Line:
    if result.error is not None:
        return {}
    if not hasattr(result.answer, "lines"):
        label, probability = result.answer
        return {"digit": label, "probability": round(probability, 6)}
    lines = [
        {"text": line.text, "digits": [_digit(digit) for digit in line.digits]}
        for line in result.answer.lines
    ]
    if result.answer.single:
        return _digit(result.answer.digits[0])
    return {"lines": lines}


def _digit(digit: Digit) -> Line:
    label, probability, box = digit
    return {"digit": label, "probability": round(probability, 6), **box._asdict()}


def _large(sources: Iterator[Source]) -> bool:
    """Whether the first files are larger than 28 x 28 pixels could be."""
    return any(
        os.path.isfile(source.path) and os.path.getsize(source.path) > _LARGE  # noqa: PTH113, PTH202
        for source in itertools.islice(sources, 8)
    )


command.__name__ = "recognize"
