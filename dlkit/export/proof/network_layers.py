"""What each layer of a parsed TensorRT network computes and holds, and in which type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dlkit.errors import ExportError
from dlkit.export.proof.layer_arithmetic import elements, multiply_adds, own_weights, typed
from dlkit.export.proof.loops import turns

_TYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}
# Layers that compute nothing: they hold, move, convert or describe tensors.
MOVES = frozenset(
    {"CONSTANT", "SHUFFLE", "SHAPE", "CAST", "IDENTITY", "UNSQUEEZE", "SQUEEZE", "CONCATENATION",
     "SLICE", "GATHER", "QUANTIZE", "DEQUANTIZE", "PADDING", "ASSERTION", "ITERATOR", "RECURRENCE",
     "TRIP_LIMIT", "LOOP_OUTPUT", "CONDITION", "CONDITIONAL_INPUT", "CONDITIONAL_OUTPUT",
     "ATTENTION_OUTPUT"}
)  # fmt: skip
# Between a dequantised or constant tensor and the product that takes it.
_TRANSPARENT = frozenset({"SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE"})
_MADE = ("(Unnamed Layer", "ONNXTRT_")  # what the parser calls layers of its own
_OF_NODE = "[ONNX Layer: "


@dataclass(frozen=True)
class Layer:
    """What one layer of the parsed network computes, at the profile's best shapes.

    Attributes:
        name: TensorRT's; of layers that the parser made for a node without naming them, the node's.
        nodes: names of the ONNX nodes that it is of; of a constant, of those that take it.
        kind: TensorRT's layer type, e.g. ``CONVOLUTION``.
        dtype: ``fp32``, ``fp16``, ``bf16``, ``int8`` or ``other``; for products of dequantised
            tensors ``int8``, since TensorRT runs those in eight bits.
        multiply_adds: of convolutions, matrix products, attention and the like, in all turns of the
            loops around them; else 0.
        flop: two a multiply-add; other layers one an element that goes in or comes out.
        weights: elements of the graph's weights that it holds.
        unknown: a shape depends on the data: its weights stand for its multiply-adds.
    """

    name: str
    nodes: tuple[str, ...]
    kind: str
    dtype: str
    multiply_adds: int
    flop: int
    weights: int
    unknown: bool = False


def read_layers(trt: ModuleType, network: Any) -> tuple[list[Layer], list[str]]:
    """Every layer that handles floating-point or eight-bit values, of a network whose inputs have
    fixed shapes; and loops whose number of turns is not known.

    Raises:
        ExportError: TensorRT cannot tell the shape of a tensor.
    """
    every = [typed(trt, network.get_layer(index)) for index in range(network.num_layers)]
    produced_by: dict[str, Any] = {}
    taken_by: defaultdict[str, list[Any]] = defaultdict(list)
    for layer in every:
        for index in range(layer.num_outputs):
            produced_by[layer.get_output(index).name] = layer
        for tensor in _inputs(layer):
            taken_by[tensor.name].append(layer)
    nodes = _nodes(every)
    _check_shapes(every, nodes)
    times, endless = turns(trt, every, produced_by)
    found = []
    for layer in every:
        kind = layer.type.name
        if layer.num_outputs == 0:
            continue  # a loop's limit, an assertion
        output, inputs = layer.get_output(0), _inputs(layer)
        dtype = _TYPES.get(output.dtype.name, "other")
        if dtype == "other" and kind != "QUANTIZE":
            continue
        counted = multiply_adds(trt, layer, inputs)
        weights = own_weights(layer)
        users: tuple[str, ...] = (nodes[layer.name],)
        if kind == "CONSTANT":
            takers = _takers(layer, taken_by)
            users = tuple(sorted({nodes[taker.name] for taker in takers}))
            if takers and all(taker.type.name == "QUANTIZE" for taker in takers):
                dtype = "int8"  # TensorRT quantises it when it builds
            if layer.name.startswith(_MADE):
                weights = 0
        unknown = counted is None
        if counted is None:
            held = (elements(tensor.shape) for tensor in inputs if _constant(tensor, produced_by))
            counted = weights or max((size for size in held if size), default=1)
        if counted and len(inputs) > 1 and all(
            _made_by(tensor, produced_by) == "DEQUANTIZE" for tensor in inputs[:2]
        ):  # fmt: skip
            dtype = "int8"
        counted *= times.get(layer.name, 1)
        sizes = (elements(tensor.shape) or 0 for tensor in (*inputs, output))
        moved = 0 if kind in MOVES else max(sizes) * times.get(layer.name, 1)
        made = layer.name.startswith(_MADE)
        found.append(
            Layer(
                name=nodes[layer.name] if made and nodes[layer.name] else layer.name,
                nodes=users,
                kind=kind,
                dtype=dtype,
                multiply_adds=counted,
                flop=2 * counted or moved,
                weights=weights,
                unknown=unknown,
            )
        )
    return found, endless


def _check_shapes(layers: Sequence[Any], nodes: Mapping[str, str]) -> None:
    for layer in layers:
        for tensor in map(layer.get_output, range(layer.num_outputs)):
            try:
                tensor.shape  # noqa: B018
            except RuntimeError as error:  # of branches that differ, for example
                raise ExportError(
                    f"TensorRT cannot tell the shape of what {nodes[layer.name] or layer.name} "
                    f"({layer.type.name.lower()}) gives",
                    "Export the network without control flow around it",
                ) from error


def _inputs(layer: Any) -> list[Any]:
    every = (layer.get_input(index) for index in range(layer.num_inputs))
    return [tensor for tensor in every if tensor is not None]


def _nodes(layers: Sequence[Any]) -> dict[str, str]:
    """The ONNX node of each layer, by the layer's name. TensorRT notes it at some; those around
    belong to the one before."""
    found, node = {}, ""
    for layer in layers:
        noted = str(layer.metadata or "")
        if _OF_NODE in noted:
            node = noted.partition(_OF_NODE)[2].partition("]")[0]
        elif not layer.name.startswith(_MADE):
            node = layer.name
        found[layer.name] = node
    return found


def _takers(layer: Any, taken_by: Mapping[str, Sequence[Any]]) -> list[Any]:
    """The layers that compute with a constant, behind those that only turn it."""
    found, waiting = [], list(taken_by.get(layer.get_output(0).name, ()))
    while waiting:
        taker = waiting.pop()
        if taker.type.name in _TRANSPARENT:
            waiting += taken_by.get(taker.get_output(0).name, ())
        else:
            found.append(taker)
    return found


def _maker(tensor: Any, produced_by: Mapping[str, Any]) -> Any:
    maker = produced_by.get(tensor.name)
    while maker is not None and maker.type.name in _TRANSPARENT:
        maker = produced_by.get(maker.get_input(0).name)
    return maker


def _made_by(tensor: Any, produced_by: Mapping[str, Any]) -> str:
    maker = _maker(tensor, produced_by)
    return "" if maker is None else str(maker.type.name)


def _constant(tensor: Any, produced_by: Mapping[str, Any]) -> bool:
    return _made_by(tensor, produced_by) == "CONSTANT"
