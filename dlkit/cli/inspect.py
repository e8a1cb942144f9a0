"""dlkit inspect"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dlkit.graph.inspect import Inspected

EXAMPLE = (
    "Examples:  dlkit inspect net.onnx  |  dlkit inspect mmwave --json  |  "
    "dlkit inspect net.onnx --size length=128  |  dlkit inspect BUNDLE/engines/NAME.engine"
)
_MOST = 12  # operators that are shown


def command(
    file: Annotated[
        str,
        typer.Argument(
            help="An ONNX file, a bundle (folder or shipped name), or an engine in a bundle."
        ),
    ],
    size: Annotated[
        list[str] | None,
        typer.Option(
            help="Size of a free axis, NAME=SIZE; may be repeated.",
            show_default="1 of a first axis, 224 of others",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for programs.")] = False,
) -> None:
    """Show what a file takes, gives and holds, and how much of it is in which precision.

    Counted on the graph, without any inference library: multiply-adds of convolutions, matrix
    products, recurrent layers and attention; operations of all nodes; elements of the weights.
    """
    from dlkit.cli._extras import training_installed

    with training_installed("inspect"):
        from dlkit.graph.inspect import inspect, read_sidecar

    if file.endswith((".engine", ".json")):
        if size:
            raise UsageError(f"--size is for graphs; {file} says what was counted of an engine")
        sidecar = read_sidecar(Path(file))
        if as_json:
            typer.echo(json.dumps(sidecar, indent=2))
        else:
            _show_engine(file, sidecar)
        return
    found = inspect(file, _sizes(size or []))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        _show(found)


def _sizes(texts: list[str]) -> dict[str, int]:
    from dlkit.errors import UsageError

    found = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        if not name or not number.isdecimal() or int(number) < 1:
            raise UsageError(f"--size is '{text}', expected NAME=SIZE, e.g. length=128")
        found[name] = int(number)
    return found


def _show(found: Inspected) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    opsets = ", ".join(f"{name} {number}" for name, number in found.opsets.items())
    console.print(f"{found.path}: IR version {found.ir_version}, opset {opsets}", markup=False)
    for name, rows in (("input", found.inputs), ("output", found.outputs)):
        for row in rows:
            console.print(f"{name:>10}  {row}", markup=False)
    if found.external:
        console.print(f"{'weights in':>10}  {', '.join(found.external)}", markup=False)
    most = list(found.operators.items())
    shown = ", ".join(f"{count} {name}" for name, count in most[:_MOST])
    more = f", and {len(most) - _MOST} other kinds" if len(most) > _MOST else ""
    console.print(f"{'nodes':>10}  {sum(found.operators.values())}: {shown}{more}", markup=False)
    sizes = ", ".join(f"{name} {'x'.join(map(str, one))}" for name, one in found.sizes.items())
    console.print(f"{'counted':>10}  for {sizes}", markup=False)
    _table(
        {
            "multiply-adds": found.multiply_adds,
            "operations": found.operations,
            "weights": found.weights,
        },
        found.total,
    )
    if found.estimated:
        names = ", ".join(found.estimated[:5])
        console.print(
            f"shapes are not known at {len(found.estimated)} nodes ({names}): the elements of "
            "their weights stand for their multiply-adds",
            markup=False,
        )
    for what, held in (("NaN", found.nan), ("infinite", found.infinite)):
        if held:
            console.print(
                f"{len(held)} weights hold values that are {what}: {', '.join(held[:5])}",
                markup=False,
            )


def _show_engine(file: str, sidecar: Mapping[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    key, proof = sidecar["key"], sidecar["proof"]
    console.print(
        f"{file}: {key['flavor']} {key['version']}, {key['precision']}, {sidecar['bytes']:,} bytes",
        markup=False,
    )
    console.print(f"graph {key['onnx_sha256'][:12]}, shapes {key['shapes']}", markup=False)
    _table(
        {
            "multiply-adds": proof["multiply_adds"],
            "operations": proof["flop"],
            "weights": proof["weights"],
        },
        {},
    )


def _table(parts: Mapping[str, Mapping[str, float]], totals: Mapping[str, int]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("share in", *parts, box=SIMPLE_HEAD)
    for kind in dict.fromkeys(kind for shares in parts.values() for kind in shares):
        row = (f"{shares[kind]:.1%}" if kind in shares else "-" for shares in parts.values())
        table.add_row(kind, *row)
    if totals:
        table.add_row("in all", *(f"{number:,}" for number in totals.values()), style="dim")
    Console().print(table)


command.__name__ = "inspect"
