"""dlkit recognize"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.runtime.folder import Source
    from dlkit.runtime.folder_run import Line, Tally
    from dlkit.runtime.pipeline import Result
    from dlkit.runtime.table import Table

EXAMPLE = "Example:  dlkit recognize digits/ --out predictions.csv"


def command(
    inputs: _options.Inputs,
    model: Annotated[str, typer.Option(help="Bundle: a folder, or the name of a shipped one.")] = (
        "digits"
    ),
    out: Annotated[
        Path, typer.Option(help="Table of results; .jsonl gives JSON lines, else CSV.")
    ] = Path("predictions.csv"),
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
    """Recognize one bright digit on black an image: file, digit, probability, error.

    Arrays of many images are taken too: .npy and .npz (N, 28, 28) and MNIST's IDX files, at memory
    speed. A second run goes on where the first stopped, and redoes what changed:
    OUT.manifest.jsonl says what was done.
    """
    from rich.console import Console

    from dlkit import images
    from dlkit.cli import _folder, _load
    from dlkit.errors import UsageError
    from dlkit.runtime import arrays, folder, table
    from dlkit.runtime.pipeline import FileWork, Runner

    console = Console(stderr=True)
    folder.check(inputs)
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder, expected a file such as {out}/predictions.csv")

    def files() -> Iterator[Source]:
        found = folder.sources(inputs)
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
    )
    if not dry_run:
        _load.writable(out.resolve().parent)
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

    job = _folder.Job(
        loaded=loaded,
        work=FileWork(runner),
        sources=files,
        manifest=out.with_name(out.name + ".manifest.jsonl"),
        there=lambda source: True,
        line=_line,
        table=lambda: table.open_table(out),
        more=more,
    )
    code = _folder.execute(job, _folder.Flags(overwrite, watch, dry_run, fail_fast), console)
    typer.echo(out)
    raise typer.Exit(code)


def _line(result: Result) -> Line:
    if result.error is not None:
        return {}
    label, probability = result.answer
    return {"digit": label, "probability": round(probability, 6)}


command.__name__ = "recognize"
