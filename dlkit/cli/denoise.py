"""dlkit denoise"""

from __future__ import annotations

from typing import Annotated

import typer

from dlkit.cli import _options

EXAMPLE = "Example:  dlkit denoise scans/ --out cleaned/"


def command(
    context: typer.Context,
    inputs: _options.Inputs,
    model: Annotated[str, typer.Option(help="Bundle: a folder, or the name of a shipped one.")] = (
        "mmwave"
    ),
    out: Annotated[
        str | None, typer.Option(help="Folder of cleaned images.", show_default="FOLDER-denoised")
    ] = None,
    range_: Annotated[
        str | None,
        typer.Option(
            "--range",
            help="Values that stand for black and white, LOW:HIGH, e.g. 0:4095.",
            show_default="the type's; 0:4095 where 16 bits hold 12",
        ),
    ] = None,
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
    from dlkit.cli._to_folder import to_folder

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
        context, "denoise", model, inputs, out, backend, device, batch, workers, flags, range_
    )


command.__name__ = "denoise"
