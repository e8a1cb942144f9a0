"""Precision proof: which share of layers, arithmetic and weights of a TensorRT network is in which
type, read from the parsed network before it is built, on any machine.

Strongly typed networks keep these types in the engine. Where a GPU can load the engine, the types
that the engine inspector reports come beside them.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from types import ModuleType
from typing import Any

from dlkit.errors import ExportError

# Least share of the multiply-adds that must be in the precision that was asked for. Eight-bit
# graphs leave out the layers that lose quality, so half is enough there.
REQUIRED = {"fp32": 0.95, "fp16": 0.95, "bf16": 0.95, "int8": 0.5}

_TYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}
# Layers that compute nothing: they hold, move, convert or describe tensors.
_MOVES = {
    "CONSTANT", "SHUFFLE", "SHAPE", "CAST", "IDENTITY", "UNSQUEEZE", "SQUEEZE", "CONCATENATION",
    "SLICE", "GATHER", "QUANTIZE", "DEQUANTIZE", "PADDING", "ASSERTION",
}  # fmt: skip
_NAMED = 5  # layers that an error names


@dataclass(frozen=True)
class Layer:
    """What one layer of the parsed network computes, at the profile's best shape.

    Attributes:
        kind: TensorRT's layer type, e.g. ``CONVOLUTION``.
        dtype: ``fp32``, ``fp16``, ``bf16``, ``int8`` or ``other``; for layers between dequantised
            tensors ``int8``, since TensorRT runs those in eight bits.
        multiply_adds: of convolutions, transposed convolutions and matrix products, else 0.
        flop: two a multiply-add; other layers one an element that goes in or comes out.
        weights: elements of the layer's own weights.
    """

    name: str
    kind: str
    dtype: str
    multiply_adds: int
    flop: int
    weights: int


@dataclass(frozen=True)
class Proof:
    """Shares by type, 0 to 1: ``{"fp16": 0.998, "fp32": 0.002}``.

    Attributes:
        shape: of the input for which arithmetic was counted.
        gflop: arithmetic in all, 10^9 operations.
        layers, flop, multiply_adds, weights: share of each type.
        others: names of layers with multiply-adds that are not in the precision asked for.
        engine: layers by type as the engine inspector reports them; empty without a GPU.
    """

    precision: str
    shape: tuple[int, ...]
    gflop: float
    layers: Mapping[str, float]
    flop: Mapping[str, float]
    multiply_adds: Mapping[str, float]
    weights: Mapping[str, float]
    others: tuple[str, ...]
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
    """Read a parsed network whose input has a fixed shape.

    Args:
        share: least share of the multiply-adds in ``precision``; ``REQUIRED`` by default.
        kept: names of nodes that somebody asked to stay float32; the demand is on the others.

    Raises:
        ExportError: too few of the multiply-adds are in ``precision``; names the layers.
    """
    layers = list(read_layers(trt, network))
    others = sorted(
        (layer for layer in layers if layer.multiply_adds and layer.dtype != precision),
        key=lambda layer: -layer.multiply_adds,
    )
    proof = Proof(
        precision=precision,
        shape=tuple(network.get_input(0).shape),
        gflop=sum(layer.flop for layer in layers) / 1e9,
        layers=_shares((layer.dtype, 1) for layer in layers if layer.kind not in _MOVES),
        flop=_shares((layer.dtype, layer.flop) for layer in layers),
        multiply_adds=_shares((layer.dtype, layer.multiply_adds) for layer in layers),
        weights=_shares((layer.dtype, layer.weights) for layer in layers),
        others=tuple(layer.name for layer in others),
        engine={},
    )
    needed = REQUIRED[precision] if share is None else share
    demanded = [layer for layer in layers if layer.name not in kept or layer.dtype != "fp32"]
    there = _shares((layer.dtype, layer.multiply_adds) for layer in demanded).get(precision, 0.0)
    others = [layer for layer in others if layer in demanded]
    if others and there < needed:
        named = ", ".join(f"{layer.name} ({layer.dtype})" for layer in others[:_NAMED])
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        raise ExportError(
            f"asked for {precision}, but only {there:.1%} of the multiply-adds are {precision}, "
            f"{needed:.0%} are needed; not so: {named}{more}",
            f"Export with --precision {precision}",
        )
    return proof


def read_layers(trt: ModuleType, network: Any) -> Iterator[Layer]:
    """Every layer that handles floating-point or eight-bit values."""
    produced_by = {}
    every = [network.get_layer(index) for index in range(network.num_layers)]
    for layer in every:
        for index in range(layer.num_outputs):
            produced_by[layer.get_output(index).name] = layer

    for layer in every:
        kind = layer.type.name
        output = layer.get_output(0)
        dtype = _TYPES.get(output.dtype.name, "other")
        if dtype == "other" and kind != "QUANTIZE":
            continue
        inputs = [
            tensor
            for index in range(layer.num_inputs)
            if (tensor := layer.get_input(index)) is not None
        ]
        multiply_adds = weights = 0
        if kind in ("CONVOLUTION", "DECONVOLUTION"):
            layer.__class__ = getattr(
                trt, "IConvolutionLayer" if kind == "CONVOLUTION" else "IDeconvolutionLayer"
            )
            own = int(layer.kernel.size)
            kernel = own or prod(inputs[1].shape)
            places = output.shape if kind == "CONVOLUTION" else inputs[0].shape
            multiply_adds = int(kernel * places[0] * prod(places[2:]))
            weights = own + int(layer.bias.size)
        elif kind == "MATRIX_MULTIPLY":
            layer.__class__ = trt.IMatrixMultiplyLayer
            turned = layer.op0 == trt.MatrixOperation.TRANSPOSE
            inner = inputs[0].shape[-2 if turned else -1]
            multiply_adds = int(prod(output.shape) * inner)
        elif kind == "CONSTANT":
            weights = int(prod(output.shape))
        if multiply_adds and _dequantised(inputs, produced_by):
            dtype = "int8"
        moved = 0 if kind in _MOVES else max(prod(t.shape) for t in (*inputs, output))
        yield Layer(
            name=layer.name,
            kind=kind,
            dtype=dtype,
            multiply_adds=multiply_adds,
            flop=2 * multiply_adds or int(moved),
            weights=weights,
        )


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


def _dequantised(inputs: list[Any], produced_by: Mapping[str, Any]) -> bool:
    """Whether the first two inputs both come from eight bits."""
    makers = [produced_by.get(tensor.name) for tensor in inputs[:2]]
    return len(makers) == 2 and all(
        maker is not None and maker.type.name == "DEQUANTIZE" for maker in makers
    )


def _shares(parts: Any) -> dict[str, float]:
    totals: defaultdict[str, int] = defaultdict(int)
    for dtype, amount in parts:
        totals[dtype] += amount
    whole = sum(totals.values())
    return {dtype: totals[dtype] / whole for dtype in sorted(totals) if totals[dtype]}
