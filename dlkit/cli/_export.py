"""What ``export`` shows of int8 and of engines."""

from __future__ import annotations

import contextlib
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.bundle import Bundle
    from dlkit.bundle.engine import Engine
    from dlkit.export.build_options import BuildOptions
    from dlkit.export.pixels import Pixels

_NAMED = 8  # nodes left in float32 that are shown


def read_pixels(
    colour: str | None, mean: str | None, std: str | None, scale: str | None
) -> Pixels | None:
    """How pixels become what a network takes; None where nobody said anything of it."""
    if colour is None and mean is None and std is None and scale is None:
        return None
    from dlkit.export.pixels import Pixels

    numerator, _, denominator = (scale or "1/255").partition("/")
    try:
        factor = float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"--scale is '{scale}', expected a factor, e.g. 1/255 or 1") from error
    return Pixels(colour, _numbers(mean or "0", "--mean"), _numbers(std or "1", "--std"), factor)


def read_labels(path: Path) -> list[str]:
    """Names of classes, a line each; UTF-8, with or without its mark."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        return [line.strip() for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error


@contextlib.contextmanager
def keep_list(source: str, console: Console) -> Iterator[None]:
    """Where too little of a graph is in its precision, write the list with which it passes."""
    import json

    from dlkit.atomic import write_bytes
    from dlkit.export.proof.precision import PrecisionError

    try:
        yield
    except PrecisionError as error:
        path = Path(f"{Path(source).stem}-keep-fp32.json")
        if not path.exists():
            nodes = [{"node": name} for name in error.nodes]
            write_bytes(path, (json.dumps({"keep_fp32": nodes}, indent=2) + "\n").encode())
            console.print(
                f"the list of these nodes is in {path}; with --keep-fp32 {path} it is exported, "
                "and they stay float32",
                highlight=False,
                soft_wrap=True,
            )
        raise


def show_bundle(bundle: Bundle, console: Console) -> None:
    """Size and shares, what was put around the graph, and what half precision could not hold."""
    from dlkit.tasks import TASKS

    size = bundle.onnx.stat().st_size + (bundle.weights.stat().st_size if bundle.weights else 0)
    share = bundle.origin.get("share")
    in_it = ""
    if share:
        parts = f"{share['multiply_adds']:.1%} of multiply-adds, {share['weights']:.1%} of weights"
        in_it = f"; in {bundle.spec.precision}: {parts}"
    console.print(
        f"{bundle.spec.name} ({bundle.spec.precision}): {size / 1e6:.2f} MB{in_it}",
        highlight=False,
        soft_wrap=True,
    )
    if ends := bundle.origin.get("around", {}).get("ends"):
        console.print(f"put behind the graph: {', '.join(ends)}", highlight=False)
    elif "around" in bundle.origin and TASKS.load(bundle.spec.task).gives == "probabilities":
        console.print("put behind the graph: nothing, it gives probabilities", highlight=False)
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    if draws := bundle.origin.get("random"):
        say(
            f"it answers differently each time: {', '.join(draws[:_NAMED])} draw random numbers, "
            "so that verify has nothing to compare with"
        )
    for name, count in Counter(bundle.spec.labels).most_common(_NAMED):  # ImageNet has two cranes
        if count > 1:
            say(f"{count} classes are called {name}: answers do not tell them apart")
    if ranges := bundle.origin.get("ranges"):
        say(
            f"ranges were looked at {ranges}: give inputs that it takes with --data, or it may "
            "become infinite unseen"
        )
    left: Mapping[str, str] = bundle.origin.get("left_fp32", {})
    for node, why in list(left.items())[:_NAMED]:
        say(f"left in fp32: {node}: {why}")
    if len(left) > _NAMED:
        console.print(f"and {len(left) - _NAMED} more; model.json names all", highlight=False)


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{option} is '{text}', expected numbers, e.g. 0.5,0.5,0.5") from error


def show_int8(report: Mapping[str, Any], console: Console) -> None:
    """What int8 lost, and which layers were left out."""
    part = report["validation"]
    ways = {"fp32": part["fp32"], **{f"int8 on {k}": v for k, v in part["int8"].items()}}
    for way, metrics in ways.items():
        numbers = ", ".join(f"{name} {value:.5g}" for name, value in metrics.items())
        if numbers:  # of arrays nobody knows what they should be
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
    if proof["unknown"]:
        names = ", ".join(proof["unknown"])
        console.print(f"sizes depend on the data: {names}", highlight=False, soft_wrap=True)
    if proof["engine"]:
        counted = ", ".join(f"{count} {dtype}" for dtype, count in proof["engine"].items())
        console.print(f"the engine inspector counts layers: {counted}", highlight=False)


def _percent(share: float) -> str:
    return f"{share:.1%}" if share else "-"


def write_triton(
    bundle: Bundle,
    repository: Path | None,
    engine: Engine | None,
    batch: tuple[int, int, int] | None,
    report: Path | None,
    response_cache: bool,
    console: Console,
) -> None:
    """Write into a model repository, if one is named; say what the server must have."""
    from dlkit.cli._console import plain
    from dlkit.export.triton import to_triton

    if repository is None:
        if report is not None or response_cache:
            raise UsageError("--report and --response-cache are of Triton", "Name a --triton REPO")
        return
    largest = None if batch is None else batch[2]
    path = to_triton(bundle, repository, engine, largest, report, response_cache)
    needs = []
    if engine is not None:
        needs.append(f"TensorRT {engine.key.version}, which the server's container must have")
    if response_cache:
        needs.append("tritonserver --cache-config local,size=BYTES")
    needed = f"; needs {' and '.join(needs)}" if needs else ""
    console.print(f"{plain(str(path))}{needed}", highlight=False, soft_wrap=True)


def say_next(
    bundle: Bundle, source: str, weights: Path | None, data: str | None, console: Console
) -> None:
    """Print the command that certifies what was exported."""
    from dlkit.cli._console import plain
    from dlkit.runtime.advice import HELD_OUT, how_to_verify

    against = ""
    if bundle.origin.get("module") == source:
        against = shlex.quote(source)
        if weights is None:
            console.print(plain(f"weights: as {source} gives them; --weights FILE loads others"))
        else:
            against += f" --weights {shlex.quote(str(weights))}"
    seen = bundle.origin.get("int8", {}).get("all_of_it", False)
    line = f"next: {how_to_verify(bundle, against, HELD_OUT if seen else data or '')}"
    console.print(plain(line), style="dim", soft_wrap=True)
