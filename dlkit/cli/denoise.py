"""dlkit denoise"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlkit.cli import _options

EXAMPLE = "Example:  dlkit denoise scans/ --out cleaned/"


def command(
    inputs: _options.Inputs,
    model: Annotated[str, typer.Option(help="Bundle: a folder, or the name of a shipped one.")] = (
        "mmwave"
    ),
    out: Annotated[
        Path | None, typer.Option(help="Folder of cleaned images.", show_default="FOLDER-denoised")
    ] = None,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
    batch: Annotated[int, typer.Option(min=1, help="Images of one size that run together.")] = 4,
    workers: _options.Workers = 2,
    require_certificate: _options.RequireCertificate = False,
) -> None:
    """Clean noisy millimetre-wave scans; names, subfolders, sizes and bit depth are kept."""
    from rich.console import Console

    from dlkit import images
    from dlkit.cli import _folder
    from dlkit.errors import UsageError
    from dlkit.runtime import folder, pipeline

    console = Console(stderr=True)
    folder.check(inputs)
    first = inputs[0].resolve()
    base = first if first.is_dir() else first.parent
    target = out or base.with_name(f"{base.name}-denoised")
    if any(target.resolve() in (path.resolve(), path.resolve().parent) for path in inputs):
        raise UsageError(f"--out {target} is where the inputs are: they would be overwritten")
    denoiser = _folder.load_model("denoise", model, backend, device, require_certificate, console)
    _folder.writable(target)

    def save(source: folder.Source, image: images.Image) -> None:
        images.write(target / source.name, image)

    code = _folder.run(
        inputs,
        target,
        lambda sources: pipeline.write(
            pipeline.infer(
                pipeline.read(sources, lambda source: source.path, denoiser.prepare, workers),
                denoiser.opened.session,
                denoiser.finish,
                batch,
            ),
            save,
            workers,
        ),
        console,
    )
    typer.echo(target)
    raise typer.Exit(code)


command.__name__ = "denoise"
