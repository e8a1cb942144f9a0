"""dlkit denoise"""

from __future__ import annotations

from typing import Annotated

import typer

from dlkit.cli import _options

EXAMPLE = (
    "Examples:  dlkit denoise scans/ --out cleaned/  |  "
    "dlkit denoise scans/ --objects objects.jsonl"
)


def command(
    context: typer.Context,
    inputs: _options.Inputs,
    model: Annotated[str, typer.Option(help="Bundle: a folder, or the name of a shipped one.")] = (
        "mmwave"
    ),
    out: Annotated[
        str | None, typer.Option(help="Folder of cleaned images.", show_default="FOLDER-denoised")
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(
            help="Find concealed objects too: their table, .jsonl, .csv or .parquet.",
            show_default="none",
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            help="Bundle that finds the objects: a folder, or a shipped one's name.",
            show_default="objects",
        ),
    ] = None,
    sensitivity: Annotated[
        str | None,
        typer.Option(help="Of finding objects: high, normal or low.", show_default="normal"),
    ] = None,
    range_: _options.Range = None,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
    batch: _options.Batch = None,
    workers: _options.Workers = None,
    overwrite: _options.Overwrite = False,
    watch: _options.Watch = False,
    dry_run: _options.DryRun = False,
    fail_fast: _options.FailFast = False,
    frames: _options.Frames = "all",
    max_pixels: _options.MaxPixels = None,
    follow_symlinks: _options.FollowSymlinks = False,
    shard: _options.Shard = None,
    ray: _options.Ray = None,
    require_certificate: _options.RequireCertificate = False,
    accept_random: _options.AcceptRandom = False,
) -> None:
    """Clean noisy images; names, subfolders, sizes and bit depth are kept.

    A second run goes on where the first stopped, and redoes what changed: OUT/manifest.jsonl says
    what was done.
    """
    from dlkit.cli._folder import Flags
    from dlkit.cli._objects import Objects
    from dlkit.cli._to_folder import to_folder
    from dlkit.errors import UsageError

    if objects is None and not (detector is None and sensitivity is None):
        raise UsageError(
            "--detector and --sensitivity are of finding objects, and there is no --objects",
            "Add --objects objects.jsonl, or leave them out",
        )
    flags = Flags(
        overwrite,
        watch,
        dry_run,
        fail_fast,
        follow_symlinks,
        require_certificate,
        accept_random,
        frames,
        max_pixels,
        shard,
        ray,
    )
    to_folder(
        context, "denoise", model, inputs, out, backend, device, batch, workers, flags, range_,
        None if objects is None
        else Objects(objects, detector or "objects", sensitivity or "normal"),
    )  # fmt: skip


command.__name__ = "denoise"
