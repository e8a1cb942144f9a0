"""What ``export`` shows of int8 and of engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.bundle import Bundle
    from dlkit.bundle.engine import Engine
    from dlkit.export.build_options import BuildOptions


def show_int8(report: Mapping[str, Any], console: Console) -> None:
    """What int8 lost, and which layers were left out."""
    part = report["validation"]
    ways = {"fp32": part["fp32"], **{f"int8 on {k}": v for k, v in part["int8"].items()}}
    for way, metrics in ways.items():
        numbers = ", ".join(f"{name} {value:.5g}" for name, value in metrics.items())
        console.print(f"{way}: {numbers}", highlight=False)
    console.print(f"measured on {part['count']} of {part['name']}", highlight=False)
    left = ", ".join(report["left_fp32"]) or "none"
    console.print(
        f"{report['share']:.1%} of the multiply-adds in int8; layers that the search left in fp32: "
        f"{left}",
        highlight=False,
        soft_wrap=True,
    )


def build(bundle: Bundle, options: BuildOptions, console: Console) -> tuple[Engine, bool]:
    """Build an engine behind a bar."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from dlkit.export.engine import build_engine

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    text = TextColumn("{task.description}")
    with Progress(text, *columns, console=console, transient=True) as bar:
        task = bar.add_task("building", total=1.0)

        def show(phase: str, share: float) -> None:
            bar.update(task, description=phase.lower(), completed=share)

        return build_engine(bundle, options, watch=show)


def show_engine(engine: Engine, built: bool, console: Console) -> None:
    """The engine and its precision proof."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    how = f"built in {engine.built['seconds']:.1f} s" if built else "there already"
    mega = engine.path.stat().st_size / 1e6
    console.print(
        f"engine: {engine.path.name} ({mega:.2f} MB, {how})", highlight=False, soft_wrap=True
    )
    proof = engine.proof
    parts = ("layers", "flop", "multiply_adds", "weights")
    table = Table("share in", "layers", "FLOP", "multiply-adds", "weights", box=SIMPLE_HEAD)
    for dtype in sorted({dtype for part in parts for dtype in proof[part]}):
        table.add_row(dtype, *(_percent(proof[part].get(dtype, 0.0)) for part in parts))
    console.print(table)
    if proof["others"]:
        names = ", ".join(proof["others"])
        console.print(f"not in {proof['precision']}: {names}", highlight=False, soft_wrap=True)
    if proof["engine"]:
        counted = ", ".join(f"{count} {dtype}" for dtype, count in proof["engine"].items())
        console.print(f"the engine inspector counts layers: {counted}", highlight=False)


def _percent(share: float) -> str:
    return f"{share:.1%}" if share else "-"
