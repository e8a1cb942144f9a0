"""dlkit simulate"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from dlkit.cli import simulate_pages

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EXAMPLE = (
    "Examples:  dlkit simulate pairs/ --count 100 --seed 1 --masks  |  "
    "dlkit simulate apart/ --count 200 --unpaired"
)


class _Group(TyperGroup):
    """Scans are simulated where nothing else is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["scans", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    name="simulate",
    cls=_Group,
    no_args_is_help=True,
    help="Simulate scans with clean pictures (also without the word `scans`), pages of digits, or "
    "crops of them; fit the simulator to another scanner.",
    epilog="Examples:  dlkit simulate scans pairs/ --count 100  |  "
    "dlkit simulate pages --out pages/ --kind desk --count 20",
)


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
    unpaired: Annotated[
        bool,
        typer.Option(
            "--unpaired",
            help="noisy/ and clean/ of different people, COUNT each: the clean ones have the next "
            "seeds.",
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0 is one for each processor.")
    ] = 0,
) -> None:
    """Simulate passive millimetre-wave scans with the clean pictures people make of them."""
    from rich.progress import Progress as Shown

    from dlkit.atomic import check_writable
    from dlkit.cli._console import notes
    from dlkit.errors import UsageError
    from dlkit.mmwave.folder import SIDES, parse_size, write_pairs

    console = notes()
    shape = parse_size(size)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists and is not empty", "Choose another folder")
    check_writable(out)
    if unpaired and masks:
        raise UsageError("--masks belong to pairs, and --unpaired makes none", "Leave one out")
    parts = [((side,), seed + place * count) for place, side in enumerate(SIDES)]
    with Shown(console=console, transient=True) as progress:
        for sides, first in parts if unpaired else [(SIDES, seed)]:
            bar = progress.add_task("simulating", total=count)
            write_pairs(out, range(first, first + count), shape, masks, workers,
                        partial(_show, progress, bar), sides)  # fmt: skip
    what, last = ("scans and clean pictures of others", 2 * count) if unpaired else ("pairs", count)
    console.print(f"{count} {what} of {shape[0]}x{shape[1]}, seeds {seed} to {seed + last - 1}",
                  highlight=False)  # fmt: skip
    typer.echo(out)


def _show(progress: Progress, bar: TaskID, done: int) -> None:
    progress.update(bar, completed=done)


def fit_command(
    scans: Annotated[
        Path,
        typer.Argument(
            help="Folder of noisy scans of one scanner, with a person in each.", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Parameters, for train --data simulated:FILE.", show_default=False)
    ],
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
) -> None:
    """Estimate another scanner's noise, stripes, levels and resolution from scans without clean
    pictures."""
    from dlkit import images
    from dlkit.atomic import write_bytes
    from dlkit.cli._console import notes
    from dlkit.errors import InputError, UsageError
    from dlkit.mmwave.fit import fit, to_json

    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists", "Replace it with --overwrite, or choose another --out")
    if not scans.is_dir():
        raise InputError(f"there is no folder '{scans}'", "Give a folder of scans")
    paths = [path for path in sorted(scans.iterdir()) if path.suffix.lower() in images.SUFFIXES]
    if not paths:
        raise InputError(f"{scans} has no images")
    parameters, factors = fit([images.grey(images.read(path)) for path in paths])
    write_bytes(out, to_json(parameters).encode())
    notes().print(
        f"{len(paths)} scans: " + ", ".join(f"{name} {one:.2f}" for name, one in factors.items())
        + f" times the usual; grey levels {parameters.grey_mean:.0f}, deviation "
        f"{parameters.grey_deviation:.0f}", highlight=False,
    )  # fmt: skip
    typer.echo(out)


group.command("scans", epilog=EXAMPLE)(command)
group.command("fit", epilog="Example:  dlkit simulate fit scans/ --out scanner.json")(fit_command)
group.command("pages")(simulate_pages.pages)
group.command("crops")(simulate_pages.crops)
