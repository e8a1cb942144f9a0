"""dlkit run"""

from __future__ import annotations

from typing import Annotated

import typer

from dlkit.cli import _options

EXAMPLE = "Example:  dlkit run mybundle/ arrays/ --out answers/"


def command(
    context: typer.Context,
    bundle: Annotated[
        str, typer.Argument(help="A bundle's folder, or a shipped one's name.", show_default=False)
    ],
    inputs: _options.Inputs,
    out: Annotated[
        str | None, typer.Option(help="Folder of answers.", show_default="FOLDER-NAME")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="tensors runs any bundle as a graph from arrays to arrays.",
            show_default="the bundle's",
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
    """Run any bundle over files: an answer's file for every file, whatever the task.

    Bundles of the task tensors take .npy and .npz files, with an array for every input of the
    graph, and give .npz files. Others take what their own command takes. A second run goes on
    where the first stopped: OUT/manifest.jsonl says what was done.
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
    to_folder(context, task, bundle, inputs, out, backend, device, batch, workers, flags)


command.__name__ = "run"
