"""dlkit export"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.bundle import Bundle
    from dlkit.engine import Engine
    from dlkit.export.tensorrt import BuildOptions, Size

Value = TypeVar("Value")

EXAMPLE = (
    "Examples:  dlkit export runs/lenet_relu --precision fp16 --trt  |  "
    "dlkit export mmwave --precision fp16 --trt --batch 1:4:8  |  "
    "dlkit export digits --precision int8  |  dlkit export net.onnx --spec spec.json --trt"
)
_ENGINE = "TensorRT engine"


def command(
    source: Annotated[
        str,
        typer.Argument(help="A run, a bundle (folder or shipped name), or an ONNX file."),
    ],
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16, bf16 or int8; it is written into the graph.",
            show_default="fp32 for a run, else as it is",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundle.", show_default="RUN/bundle-PRECISION"),
    ] = None,
    keep_fp32: Annotated[
        Path | None,
        typer.Option(help="List of nodes that stay fp32, from dlkit verify --bisect."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="For int8: training images to calibrate on: mnist-mini, mnist, fashion-mnist or a "
            "folder of IDX files; simulated, or a folder with noisy/ and clean/.",
            show_default="what the network was trained on",
        ),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(help="For an ONNX file: JSON with what it takes and gives.")
    ] = None,
    trt: Annotated[
        bool,
        typer.Option(
            "--trt", help="Also build an engine into the bundle.", rich_help_panel=_ENGINE
        ),
    ] = False,
    flavor: Annotated[
        str | None,
        typer.Option(
            help="tensorrt or tensorrt_rtx.",
            show_default="the first that is installed",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Batch sizes MIN:OPT:MAX, or one.",
            show_default="1:64:512 digits, 1:4:16 scans",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    size: Annotated[
        str,
        typer.Option(
            help="Image sizes MIN:OPT:MAX as HEIGHTxWIDTH, where the graph leaves them free.",
            rich_help_panel=_ENGINE,
        ),
    ] = "64x64:688x384:1376x768",
    compute: Annotated[
        str,
        typer.Option(
            help="Compute capabilities to build for, e.g. 8.6,8.9; tensorrt_rtx only.",
            show_default="what the flavour takes",
            rich_help_panel=_ENGINE,
        ),
    ] = "",
    hardware_compatible: Annotated[
        bool,
        typer.Option(
            "--hardware-compatible",
            help="Run on every GPU from Ampere on; tensorrt only.",
            rich_help_panel=_ENGINE,
        ),
    ] = False,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="Run with later minor versions; tensorrt only.",
            rich_help_panel=_ENGINE,
        ),
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild", help="Build even if the same engine is there.", rich_help_panel=_ENGINE
        ),
    ] = False,
) -> None:
    """Export into a bundle: model.onnx, model.json and, with --trt, an engine."""
    from rich.console import Console

    from dlkit.cli._extras import training_installed

    console = Console(stderr=True)
    with training_installed("export"):
        from dlkit.export.bisect import read_list
        from dlkit.export.source import to_bundle
        from dlkit.export.tensorrt import BuildOptions
    options = BuildOptions(
        batch=_batches(batch),
        size=_sizes(size),
        flavor=flavor,
        compute=tuple(part for part in compute.split(",") if part),
        hardware_compatible=hardware_compatible,
        version_compatible=version_compatible,
        rebuild=rebuild,
    )
    keep = read_list(keep_fp32) if keep_fp32 else ()
    with console.status("exporting") as status, training_installed("export"):
        bundle = to_bundle(source, precision, out, keep, spec, data, status.update)
    console.print(
        f"{bundle.spec.name} ({bundle.spec.precision}): {bundle.onnx.stat().st_size / 1e6:.2f} MB",
        highlight=False,
    )
    if "int8" in bundle.origin:
        _show_int8(bundle.origin["int8"], console)
    if trt:
        engine, built = _build(bundle, options, console)
        _show(engine, built, console)
    console.print(f"next: dlkit verify {bundle.path}", style="dim", soft_wrap=True)
    typer.echo(bundle.path)


def _show_int8(report: Mapping[str, Any], console: Console) -> None:
    """What int8 lost, and which layers were left out."""
    part = report["validation"]
    ways = {"fp32": part["fp32"], **{f"int8 on {k}": v for k, v in part["int8"].items()}}
    for way, metrics in ways.items():
        numbers = ", ".join(f"{name} {value:.5g}" for name, value in metrics.items())
        console.print(f"{way}: {numbers}", highlight=False)
    console.print(f"measured on {part['images']} images of {part['name']}", highlight=False)
    left = ", ".join(report["left_fp32"]) or "none"
    console.print(
        f"{report['share']:.1%} of the multiply-adds in int8; layers that the search left in fp32: "
        f"{left}",
        highlight=False,
        soft_wrap=True,
    )


def _build(bundle: Bundle, options: BuildOptions, console: Console) -> tuple[Engine, bool]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from dlkit.export.tensorrt import build_engine

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    text = TextColumn("{task.description}")
    with Progress(text, *columns, console=console, transient=True) as bar:
        task = bar.add_task("building", total=1.0)

        def show(phase: str, share: float) -> None:
            bar.update(task, description=phase.lower(), completed=share)

        return build_engine(bundle, options, progress=show)


def _show(engine: Engine, built: bool, console: Console) -> None:
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


def _batches(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    return _three(text, "--batch", "1:16:64", int)


def _sizes(text: str) -> tuple[Size, Size, Size]:
    def size(part: str) -> Size:
        height, width = part.split("x")
        return int(height), int(width)

    return _three(text, "--size", "64x64:688x384:1376x768", size)


def _three(
    text: str, option: str, example: str, read: Callable[[str], Value]
) -> tuple[Value, Value, Value]:
    from dlkit.errors import UsageError

    parts = text.split(":")
    try:
        values = [read(part) for part in (parts * 3 if len(parts) == 1 else parts)]
        smallest, best, largest = values
    except ValueError as error:
        raise UsageError(f"{option} is '{text}', expected MIN:OPT:MAX, e.g. {example}") from error
    return smallest, best, largest


command.__name__ = "export"
