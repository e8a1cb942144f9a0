"""Precision proof: which share of layers, arithmetic and weights of a TensorRT network is in which
type, read from the parsed network before it is built, on any machine.

Strongly typed networks keep these types in the engine. Where a GPU can load the engine, the types
that the engine inspector reports come beside them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from dlkit.errors import ExportError
from dlkit.export.proof.network_layers import MOVES, Layer, read_layers

# Least share of the multiply-adds and of the weights that must be in the precision that was asked
# for. Eight-bit graphs leave out the layers that lose quality, with their weights, so half of the
# multiply-adds is enough there.
REQUIRED = {"fp32": 0.95, "fp16": 0.95, "bf16": 0.95, "int8": 0.5}

_NAMED = 5  # layers that an error names


@dataclass(frozen=True)
class Proof:
    """Shares by type, 0 to 1: ``{"fp16": 0.998, "fp32": 0.002}``.

    Attributes:
        shapes: of the inputs, by their names, for which arithmetic was counted.
        gflop: arithmetic in all, 10^9 operations.
        layers, flop, multiply_adds, weights: share of each type.
        others: names of layers with multiply-adds that are not in the precision asked for.
        unknown: names of layers whose shapes depend on the data: elements of their weights stand
            for their multiply-adds; and of loops that run as often as the data say: counted once.
        engine: layers by type as the engine inspector reports them; empty without a GPU.
    """

    precision: str
    shapes: Mapping[str, tuple[int, ...]]
    gflop: float
    layers: Mapping[str, float]
    flop: Mapping[str, float]
    multiply_adds: Mapping[str, float]
    weights: Mapping[str, float]
    others: tuple[str, ...]
    unknown: tuple[str, ...]
    engine: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def prove(
    trt: ModuleType,
    network: Any,
    precision: str,
    share: float | None = None,
    kept: Collection[str] = (),
) -> Proof:
    """Read a parsed network whose inputs have fixed shapes.

    Args:
        share: least share of the multiply-adds and weights in ``precision``; ``REQUIRED`` by
            default.
        kept: names of ONNX nodes that somebody asked to stay float32; the demand is on the others.

    Raises:
        ExportError: too few of the multiply-adds or weights are in ``precision``; names the layers.
    """
    layers, endless = read_layers(trt, network)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    others = _others(layers, precision)
    proof = Proof(
        precision=precision,
        shapes={tensor.name: tuple(map(int, tensor.shape)) for tensor in inputs},
        gflop=sum(layer.flop for layer in layers) / 1e9,
        layers=_shares((layer.dtype, 1) for layer in layers if layer.kind not in MOVES),
        flop=_shares((layer.dtype, layer.flop) for layer in layers),
        multiply_adds=_shares((layer.dtype, layer.multiply_adds) for layer in layers),
        weights=_shares((layer.dtype, layer.weights) for layer in layers),
        others=tuple(layer.name for layer in others if layer.multiply_adds),
        unknown=(*(layer.name for layer in layers if layer.unknown), *endless),
        engine={},
    )
    demanded = [layer for layer in layers if not _kept(layer, kept)]
    _demand(demanded, precision, REQUIRED[precision] if share is None else share)
    return proof


def _demand(layers: list[Layer], precision: str, needed: float) -> None:
    """Refuse layers of which too little is in a precision.

    Where nothing is multiplied, operations stand for multiply-adds.
    """
    multiply = any(layer.multiply_adds for layer in layers)
    work = _shares(
        (layer.dtype, layer.multiply_adds if multiply else layer.flop) for layer in layers
    )
    weights = _shares((layer.dtype, layer.weights) for layer in layers)
    there = work.get(precision, 0.0) if work else 1.0
    held = weights.get(precision, 0.0) if weights and precision != "int8" else 1.0
    if min(there, held) >= needed:
        return
    others = _others(layers, precision)
    if there >= needed:
        others = sorted(
            (layer for layer in others if layer.weights), key=lambda layer: -layer.weights
        )
    elif multiply:
        others = [layer for layer in others if layer.multiply_adds]
    named = ", ".join(f"{layer.name} ({layer.dtype})" for layer in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    raise ExportError(
        f"asked for {precision}, but only {there:.1%} of the multiply-adds and {held:.1%} of the "
        f"weights are {precision}, {needed:.0%} are needed; not so: {named}{more}",
        f"Export with --precision {precision}, what may stay float32 in a list for --keep-fp32",
    )


def _others(layers: list[Layer], precision: str) -> list[Layer]:
    """Layers that compute or hold something in another type, those with most arithmetic first."""
    return sorted(
        (layer for layer in layers if layer.dtype != precision and (layer.flop or layer.weights)),
        key=lambda layer: (-layer.multiply_adds, -layer.flop),
    )


def _kept(layer: Layer, kept: Collection[str]) -> bool:
    return layer.dtype == "fp32" and bool(layer.nodes) and set(layer.nodes) <= set(kept)


def inspected_types(information: str) -> dict[str, int]:
    """Layers of an engine by type, from the engine inspector's JSON.

    TensorRT documents ``Layers``, each with ``Outputs``, each with ``Format/Datatype``, whose words
    name the type, e.g. ``Row-major linear FP16 format`` or ``Half``. Layers given by name only,
    as engines built without detailed verbosity give them, count as ``unknown``.
    """
    words = {
        "fp32": ("fp32", "float"),
        "fp16": ("fp16", "half"),
        "bf16": ("bf16", "bfloat16"),
        "int8": ("int8",),
    }
    counts: Counter[str] = Counter()
    for layer in json.loads(information).get("Layers", []):
        outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
        text = str(outputs[0].get("Format/Datatype", "")).lower().split() if outputs else []
        found = [name for name, known in words.items() if any(word in known for word in text)]
        counts[found[0] if found else "other" if text else "unknown"] += 1
    return dict(counts)


def _shares(parts: Iterable[tuple[str, int]]) -> dict[str, float]:
    totals: defaultdict[str, int] = defaultdict(int)
    for dtype, amount in parts:
        totals[dtype] += amount
    whole = sum(totals.values())
    return {dtype: totals[dtype] / whole for dtype in sorted(totals) if totals[dtype]}
