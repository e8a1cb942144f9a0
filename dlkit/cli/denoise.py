"""dlkit denoise"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.runtime.folder import Source

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
    batch: _options.Batch = None,
    workers: _options.Workers = None,
    overwrite: _options.Overwrite = False,
    watch: _options.Watch = False,
    dry_run: _options.DryRun = False,
    fail_fast: _options.FailFast = False,
    require_certificate: _options.RequireCertificate = False,
) -> None:
    """Clean noisy millimetre-wave scans; names, subfolders, sizes and bit depth are kept.

    A second run goes on where the first stopped, and redoes what changed: OUT/manifest.jsonl says
    what was done.
    """
    from rich.console import Console

    from dlkit import images
    from dlkit.cli import _folder, _load
    from dlkit.errors import UsageError
    from dlkit.runtime import folder
    from dlkit.runtime.pipeline import FileWork, Runner

    console = Console(stderr=True)
    folder.check(inputs)
    first = inputs[0].resolve()
    base = first if first.is_dir() else first.parent
    target = out or base.with_name(f"{base.name}-denoised")
    if any(target.resolve() in (path.resolve(), path.resolve().parent) for path in inputs):
        raise UsageError(f"--out {target} is where the inputs are: they would be overwritten")

    def sources() -> Iterator[Source]:
        return folder.sources(inputs, target)

    if not watch and next(sources(), None) is None:
        _load.nothing(inputs, images.SUFFIXES)
    loaded = _load.load_model(
        "denoise",
        model,
        backend,
        device,
        batch,
        workers,
        require_certificate,
        sources(),
        watch,
        console,
    )
    if not dry_run:
        _load.writable(target)

    def save(source: Source, image: images.Image) -> None:
        images.write(target / source.name, image)

    job = _folder.Job(
        loaded=loaded,
        work=FileWork(Runner(loaded.model, loaded.model.opened.session, loaded.batch), save),
        sources=sources,
        manifest=target / "manifest.jsonl",
        there=lambda source: (target / source.name).is_file(),
        line=lambda result: {},
    )
    code = _folder.execute(job, _folder.Flags(overwrite, watch, dry_run, fail_fast), console)
    typer.echo(target)
    raise typer.Exit(code)


command.__name__ = "denoise"
