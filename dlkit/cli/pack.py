"""dlkit pack"""

from __future__ import annotations

from typing import Annotated

import typer

from dlkit.cli import _options

EXAMPLE = "Example:  dlkit pack scans/ shards/ --size 256MB"


def command(
    folder: Annotated[
        str,
        typer.Argument(help="Folder of files, or s3://BUCKET/FOLDER.", show_default=False),
    ],
    out: Annotated[
        str,
        typer.Argument(help="Folder or address of the tar files.", show_default=False),
    ],
    size: Annotated[str, typer.Option(help="Content of one tar file, at most.")] = "256MB",
    files: Annotated[
        int, typer.Option(min=1, max=_options.COUNT, help="Files in one tar file, at most.")
    ] = 10_000,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an earlier run's tar files, no others."),
    ] = False,
    follow_symlinks: Annotated[
        bool, typer.Option("--follow-symlinks", help="Go into folders that are links, each once.")
    ] = False,
) -> None:
    """Pack the files of a folder into tar files, as WebDataset reads them.

    Requests for many small files take longer than their content. recognize,
    denoise and run take tar files as folders, and each is one shard of a
    cluster's run. Files of one name up to its first point stay together. The
    same files give the same bytes.
    """
    from pathlib import Path

    from rich.progress import Progress

    from dlkit.atomic import check_writable
    from dlkit.cli._console import notes, plain
    from dlkit.cli._sizes import parse_bytes
    from dlkit.errors import InputError
    from dlkit.runtime.folders.pack import Packed, pack
    from dlkit.runtime.folders.sources import Inputs, check
    from dlkit.runtime.folders.to_folder import refuse_same
    from dlkit.storage import place

    console = notes()
    most = parse_bytes(size, "--size")
    source, target = place(folder), place(out)
    check([source])
    refuse_same(target, [source], "The second folder")
    if isinstance(target, Path):
        check_writable(target, "folder")
    inputs = Inputs([source], lambda name: True, target, follow_symlinks)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("packing", total=None)

        def watch(packed: Packed) -> None:
            progress.update(bar, completed=packed.files)

        packed = pack(inputs, target, files, most, overwrite, watch)
    for name, error in packed.failures:
        text = error if name in error else f"{name}: {error}"
        console.print(f"failed: {plain(text)}", style="red", highlight=False, soft_wrap=True)
    for line in packed.left_out.lines():
        console.print(plain(line), style="yellow", highlight=False, soft_wrap=True)
    if not packed.files:
        raise InputError(f"nothing to pack in {source}")
    failed = f", {len(packed.failures)} failed" if packed.failures else ""
    console.print(
        f"{packed.files} files in {packed.shards} tar files, {packed.size / 1e6:.1f} MB{failed}",
        highlight=False,
    )
    typer.echo(str(target))
    raise typer.Exit(1 if packed.failures else 0)


command.__name__ = "pack"
