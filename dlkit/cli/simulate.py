"""dlkit simulate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  dlkit simulate pairs/ --count 100 --seed 1 --masks"


def command(
    out: Annotated[
        Path, typer.Argument(help="Folder that gets noisy/ and clean/.", show_default=False)
    ],
    count: Annotated[int, typer.Option(min=1, help="Pairs.")] = 100,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the first pair; the next pairs have the next seeds.")
    ] = 0,
    size: Annotated[str, typer.Option(help="Height x width in pixels, 16x16 or more.")] = "678x384",
    masks: Annotated[
        bool,
        typer.Option(help="Also objects/ (grey k is the k-th object), bodies/ and boxes.json."),
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0 is one for each processor.")
    ] = 0,
) -> None:
    """Simulate passive millimetre-wave scans with the clean pictures people make of them."""
    from rich.progress import Progress

    from dlkit.atomic import check_writable
    from dlkit.cli._console import notes
    from dlkit.errors import UsageError
    from dlkit.mmwave.folder import parse_size, write_pairs

    console = notes()
    shape = parse_size(size)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty", "Choose another folder")
    check_writable(out)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("simulating", total=count)
        write_pairs(out, range(seed, seed + count), shape, masks, workers,
                    lambda done: progress.update(bar, completed=done))  # fmt: skip
    console.print(f"{count} pairs of {shape[0]}x{shape[1]}, seeds {seed} to {seed + count - 1}",
                  highlight=False)  # fmt: skip
    typer.echo(out)


command.__name__ = "simulate"
