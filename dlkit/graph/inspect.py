"""What a file holds: any ONNX file, a bundle, or an engine by its sidecar."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from dlkit.bundle import Bundle
from dlkit.bundle.bundle import resolve
from dlkit.errors import BundleError, UsageError
from dlkit.given import path_of
from dlkit.graph.finite import infinite_weights, nan_weights
from dlkit.graph.measure import measure_first
from dlkit.graph.read import external_files, read_graph
from dlkit.graph.tidy import every_node, tidied

# Of a free axis that nobody gave a size; 1 of the first. A picture's; of sound, a window's, and a
# second's at 16 kHz.
SIZES = (224, 1024, 16_384)


@dataclass(frozen=True)
class Inspected:
    """What a graph takes, gives, holds and computes.

    Attributes:
        path: the file.
        opsets: version by domain; the main domain is ``ai.onnx``.
        inputs, outputs: name, dtype and shape of each, as text.
        external: files beside it that hold weights, by name.
        operators: how often each is there, those of subgraphs and functions included.
        sizes: of the inputs for which arithmetic was counted.
        multiply_adds, operations, weights: share of each type, 0 to 1.
        total: multiply-adds, operations and weights in all.
        estimated: nodes whose shapes are not known: the elements of their weights stand for their
            multiply-adds.
        nan, infinite: weights that hold such values.
    """

    path: str
    ir_version: int
    opsets: Mapping[str, int]
    inputs: Sequence[str]
    outputs: Sequence[str]
    external: Sequence[str]
    operators: Mapping[str, int]
    sizes: Mapping[str, Sequence[int]]
    multiply_adds: Mapping[str, float]
    operations: Mapping[str, float]
    weights: Mapping[str, float]
    total: Mapping[str, int]
    estimated: Sequence[str]
    nan: Sequence[str]
    infinite: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def inspect(path: str | Path, size: Mapping[str, int] | None = None) -> Inspected:
    """Look into an ONNX file or a bundle, without any inference library.

    Args:
        path: an ONNX file; a bundle's folder, or the name of one that ships with dlkit.
        size: of free axes, by their names; 1 of a first axis, 224 of others by
            default, or more where a layer's window is larger.

    Returns:
        Inputs and outputs, opset, weights beside the file, operators, and which share of the
        multiply-adds, of the operations and of the weights is in which type.

    Raises:
        ExportError: it is no ONNX file, is cut, breaks ONNX's rules, or its weights are not there.
        BundleError: no bundle, or a damaged one.
        UsageError: a size of an axis that is not free, or is not there.
    """
    file = path_of(path, "the graph")
    if not file.is_file():
        file = Bundle.open(resolve(path)).onnx
    graph = read_graph(file)
    version, opsets = graph.ir_version or 0, dict(graph.graph.opset_imports)
    graph = tidied(graph)
    _check_sizes(graph, size or {})
    found = measure_first(
        graph,
        (
            {str(one.name): _sized(one, size or {}, free) for one in graph.graph.inputs}
            for free in SIZES
        ),
    )
    counts = Counter(
        f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        for node in every_node(graph)
    )
    return Inspected(
        path=str(file),
        ir_version=version,
        opsets={name or "ai.onnx": number for name, number in opsets.items()},
        inputs=[_said(one) for one in graph.graph.inputs],
        outputs=[_said(one) for one in graph.graph.outputs],
        external=[one.name for one in external_files(file)],
        operators=dict(counts.most_common()),
        sizes={name: list(shape) for name, shape in found.sizes.items()},
        multiply_adds=_shares(found.multiply_adds),
        operations=_shares(found.operations),
        weights=_shares(found.elements),
        total={
            "multiply_adds": found.multiply_adds.total(),
            "operations": found.operations.total(),
            "weights": found.elements.total(),
        },
        estimated=found.estimated,
        nan=nan_weights(graph),
        infinite=infinite_weights(graph),
    )


def read_sidecar(path: Path) -> dict[str, Any]:
    """What an engine's sidecar says: the shares that were proved of it, and what it is for.

    Args:
        path: of the engine, or of its sidecar.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    from dlkit.bundle.engine import Engine

    bundle = Bundle.open(path.resolve().parent.parent)
    engine = Engine.open(path.with_suffix(".engine"), bundle)
    try:
        return dict(json.loads(engine.sidecar.read_bytes())["engine"])
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{engine.sidecar} is damaged ({error})") from error


def _check_sizes(graph: ir.Model, size: Mapping[str, int]) -> None:
    free = {str(axis.value): None for one in graph.graph.inputs if one.shape is not None
            for axis in one.shape if not isinstance(axis, int)}  # fmt: skip
    for name, number in size.items():
        if name not in free or number < 1:
            raise UsageError(
                f"the size of {name} is {number}, expected 1 or more of a free axis: "
                f"{', '.join(free) or 'the graph has none'}"
            )


def _sized(value: ir.Value, size: Mapping[str, int], free: int) -> list[int]:
    axes = value.shape if value.shape is not None else ()
    return [
        axis if isinstance(axis, int)
        else size.get(str(axis.value), 1 if place == 0 else free)
        for place, axis in enumerate(axes)
    ]  # fmt: skip


def _said(value: ir.Value) -> str:
    shape = "unknown" if value.shape is None else ", ".join(
        str(axis if isinstance(axis, int) else axis.value or "?") for axis in value.shape
    )  # fmt: skip
    dtype = "unknown" if value.dtype is None else value.dtype.name.lower()
    return f"{value.name} {dtype} ({shape})"


def _shares(totals: Counter[str]) -> dict[str, float]:
    whole = totals.total()
    return {kind: amount / whole for kind, amount in totals.most_common() if amount}
