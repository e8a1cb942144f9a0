"""dlkit simulate"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from dlkit.cli import _options, simulate_pages

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from dlkit.images import UInt8
    from dlkit.tasks.denoise.pairs import ValueRange

EXAMPLE = (
    "Examples:  dlkit simulate pairs/ --count 100 --seed 1 --masks  |  "
    "dlkit simulate apart/ --count 200 --unpaired"
)

_SHOWN = 10  # of what is left out


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
    count: Annotated[int, typer.Option(min=1, max=_options.COUNT, help="Pairs.")] = 100,
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
        int,
        typer.Option(min=0, max=_options.THREADS, help="Processes; 0 is one for each processor."),
    ] = 0,
) -> None:
    """Simulate passive millimetre-wave scans with the clean pictures people make of them.

    What was interrupted goes on when the same command is run again.
    """
    from rich.progress import Progress as Shown

    from dlkit.cli._console import notes
    from dlkit.cli._unfinished import filling
    from dlkit.errors import UsageError
    from dlkit.mmwave.folder import SIDES, parse_size, write_pairs

    console = notes()
    shape = parse_size(size)
    if unpaired and masks:
        raise UsageError("--masks belong to pairs, and --unpaired makes none", "Leave one out")
    options = ["--count", str(count), "--seed", str(seed), "--size", f"{shape[0]}x{shape[1]}"]
    options += ["--masks"] * masks + ["--unpaired"] * unpaired
    parts = [((side,), seed + place * count) for place, side in enumerate(SIDES)]
    with (
        filling(out, ("dlkit", "simulate", "scans"), options, console),
        Shown(console=console, transient=True) as progress,
    ):
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
            help="Folder of noisy scans of one scanner, with a standing person in each.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Parameters, for train --data simulated:FILE.", show_default=False)
    ],
    range_: Annotated[
        str | None,
        typer.Option(
            "--range",
            callback=_options.check_range,
            metavar="LOW:HIGH",
            help="Values of black and white in the files, where they are not those of their type: "
            "0:4095 for 12 bits in 16, 0:1 for floats.",
            show_default="the type's",
        ),
    ] = None,
    overwrite: _options.Replace = False,
) -> None:
    """Estimate another scanner's noise, stripes, levels and resolution from scans without clean
    pictures."""
    from dlkit.atomic import check_file, check_new, check_writable, write_bytes
    from dlkit.cli._console import notes
    from dlkit.errors import InputError
    from dlkit.mmwave.fit import fit
    from dlkit.mmwave.parameters_file import to_json
    from dlkit.tasks.denoise.pairs import ValueRange

    values = ValueRange.parse(range_ or "")
    check_file(out)
    check_new(out, overwrite)
    if not scans.is_dir():
        raise InputError(f"there is no folder '{scans}'", "Give a folder of scans")
    check_writable(out.resolve().parent)
    console = notes()
    found, unread = _grey_scans(scans, values)
    _say_left_out(console, unread)
    fitted = fit(found)
    write_bytes(out, to_json(fitted.parameters).encode())
    _say_left_out(console, fitted.left_out)
    left_out = len(unread) + len(fitted.left_out)
    more = f", {left_out} left out" if left_out else ""
    console.print(
        f"{fitted.measured} scans of {fitted.size[0]}x{fitted.size[1]} measured{more}: "
        + ", ".join(f"{name} {one:.2f}" for name, one in fitted.factors.items())
        + f" times the usual; grey levels {fitted.parameters.grey_mean:.0f}, deviation "
        f"{fitted.parameters.grey_deviation:.0f}", highlight=False, soft_wrap=True,
    )  # fmt: skip
    typer.echo(out)


def _say_left_out(console: Console, left_out: dict[str, str]) -> None:
    from dlkit.cli._console import plain

    lines = [f"left out: {name}: {why}" for name, why in left_out.items()]
    if (more := len(lines) - _SHOWN) > 0:
        lines[_SHOWN:] = [f"left out: {more} more"]
    for line in lines:
        console.print(plain(line), style="yellow", soft_wrap=True)


def _grey_scans(folder: Path, values: ValueRange | None) -> tuple[dict[str, UInt8], dict[str, str]]:
    """The scans of a folder by name, uint8 (H, W); and what is left out, and why.

    Raises:
        InputError: none can be read.
    """
    from dlkit import images
    from dlkit.errors import InputError
    from dlkit.tasks._levels import refuse_colours
    from dlkit.tasks.denoise.pairs import read_image

    found: dict[str, UInt8] = {}
    left_out: dict[str, str] = {}
    cut: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_dir():
            continue
        try:
            if path.suffix.lower() not in images.SUFFIXES | {".npy"}:
                raise InputError("is no image")
            image = read_image(path, values, cut)
            refuse_colours(image)
            found[path.name] = images.grey(image)
        except InputError as error:
            left_out[path.name] = str(error).removeprefix(f"{path}: ")
    for path in cut:
        if found.pop(path.name, None) is not None:
            left_out[path.name] = "has values outside the range"
    if not found:
        some = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        raise InputError(
            f"{folder} has no scans that can be read{f' ({some})' if some else ''}",
            "Give a folder with raw scans, and a --range that holds their values if need be",
        )
    return found, left_out


group.command("scans", epilog=EXAMPLE)(command)
group.command("fit", epilog="Example:  dlkit simulate fit scans/ --out scanner.json")(fit_command)
group.command("pages")(simulate_pages.pages)
group.command("crops")(simulate_pages.crops)
