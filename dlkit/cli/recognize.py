"""dlkit recognize"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlkit.cli import _options

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
    batch: Annotated[int, typer.Option(min=1, help="Images that run together.")] = 256,
    workers: _options.Workers = 2,
    require_certificate: _options.RequireCertificate = False,
) -> None:
    """Recognize one bright digit on black an image: file, digit, probability, error."""
    from rich.console import Console

    from dlkit.cli import _folder
    from dlkit.errors import UsageError
    from dlkit.runtime import folder, pipeline, table

    console = Console(stderr=True)
    folder.check(inputs)
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder, expected a file such as {out}/predictions.csv")
    recognizer = _folder.load_model(
        "recognize", model, backend, device, require_certificate, console
    )
    _folder.writable(out.resolve().parent)
    with table.open_table(out) as rows:
        code = _folder.run(
            inputs,
            None,
            lambda sources: rows.add(
                pipeline.infer(
                    pipeline.read(sources, lambda source: source.path, recognizer.prepare, workers),
                    recognizer.opened.session,
                    recognizer.finish,
                    batch,
                )
            ),
            console,
        )
    typer.echo(out)
    raise typer.Exit(code)


command.__name__ = "recognize"
