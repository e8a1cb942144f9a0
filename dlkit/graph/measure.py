"""Which share of a graph's arithmetic and weights is in which type, counted on the graph."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from dlkit.graph.arithmetic import INTEGER, node_multiplies, node_multiply_adds
from dlkit.graph.reach import between
from dlkit.graph.shapes import known_shapes
from dlkit.graph.tidy import FLOATS, every_node

_NAMES = {
    ir.DataType.FLOAT: "fp32",
    ir.DataType.FLOAT16: "fp16",
    ir.DataType.BFLOAT16: "bf16",
    ir.DataType.DOUBLE: "fp64",
}
_EIGHT = frozenset({ir.DataType.INT8, ir.DataType.UINT8})
# Operators that compute nothing: they hold, move, convert or describe tensors.
MOVES = frozenset(
    {"Cast", "CastLike", "Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze",
     "Concat", "Split", "Slice", "Gather", "GatherND", "GatherElements", "Expand", "Tile", "Pad",
     "Shape", "Size", "Constant", "ConstantOfShape", "QuantizeLinear", "DequantizeLinear",
     "DepthToSpace", "SpaceToDepth", "If", "Loop", "Scan", "SequenceAt", "SplitToSequence",
     "ConcatFromSequence"}
)  # fmt: skip
_PASSES = frozenset(
    {"Cast", "Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Concat",
     "Split", "Slice", "QuantizeLinear", "DequantizeLinear"}
)  # fmt: skip
_MOST_TRIED = 1 << 22  # elements
# Between a dequantised weight and the product that takes it.
_TRANSPARENT = frozenset({"Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten"})


@dataclass(frozen=True)
class Layer:
    """What one node computes, in one call of the graph.

    Attributes:
        name: of the node.
        operator: its type.
        dtype: ``fp32``, ``fp16``, ``bf16``, ``fp64``, ``int8`` or ``other``; of a product of
            dequantised tensors that of what they were, ``int8`` or ``other`` (eight-bit floats,
            16 bits), since backends run it so.
        multiply_adds: of convolutions, matrix products and the like, else 0.
        operations: two a multiply-add; other nodes one an element that goes in or comes out.
        estimated: a shape is not known: the elements of its weights stand for its multiply-adds.
    """

    name: str
    operator: str
    dtype: str
    multiply_adds: int
    operations: int
    estimated: bool


@dataclass(frozen=True)
class Weight:
    """A tensor of several elements that the graph holds.

    Attributes:
        nodes: names of the nodes that take it.
    """

    name: str
    dtype: str
    elements: int
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Measurement:
    """All that a graph computes and holds.

    Attributes:
        sizes: of the inputs for which it was counted, by name.
        layers: every node that computes floating-point or eight-bit values.
        weights: every constant of these types.
        largest: elements of the largest tensor whose shape is known.
    """

    sizes: Mapping[str, tuple[int, ...]]
    layers: tuple[Layer, ...]
    weights: tuple[Weight, ...]
    largest: int = 0

    @property
    def multiply_adds(self) -> Counter[str]:
        """By type."""
        return _sum((layer.dtype, layer.multiply_adds) for layer in self.layers)

    @property
    def operations(self) -> Counter[str]:
        """By type."""
        return _sum((layer.dtype, layer.operations) for layer in self.layers)

    @property
    def work(self) -> Counter[str]:
        """Multiply-adds by type; operations where nothing is multiplied."""
        return self.multiply_adds if self.multiply_adds.total() else self.operations

    @property
    def elements(self) -> Counter[str]:
        """Elements of the weights, by type."""
        return _sum((weight.dtype, weight.elements) for weight in self.weights)

    @property
    def estimated(self) -> list[str]:
        """Names of the nodes with multiply-adds whose shapes are not known."""
        return [layer.name for layer in self.layers if layer.estimated]

    def without(self, nodes: Collection[str]) -> Measurement:
        """But for what these nodes compute in float32 and alone hold."""
        left = set(nodes)
        layers = [one for one in self.layers if one.name not in left or one.dtype != "fp32"]
        weights = [
            one
            for one in self.weights
            if one.dtype != "fp32" or not one.nodes or not left.issuperset(one.nodes)
        ]
        return Measurement(self.sizes, tuple(layers), tuple(weights), self.largest)

    def shares(self, precision: str) -> tuple[float, float]:
        """Of the multiply-adds, and of the weights, that are in a type, 0 to 1.

        Where nothing is multiplied, operations stand for multiply-adds.
        """
        return _share(self.work, precision), _share(self.elements, precision)

    @property
    def precision(self) -> str:
        """The type of most of the arithmetic."""
        return self.work.most_common(1)[0][0] if self.work.total() else "fp32"


def measure(model: ir.Model, sizes: Mapping[str, Sequence[int]]) -> Measurement:
    """Count a tidied graph, which stays as it is.

    Bodies of loops are counted once, all branches of a condition are.

    Args:
        sizes: shape of each input by its name, for one call.
    """
    shapes = known_shapes(model, sizes)
    layers = [layer for node in every_node(model) if (layer := _layer(node, shapes)) is not None]
    return Measurement(
        {name: tuple(shape) for name, shape in sizes.items()},
        tuple(layers),
        tuple(_weights(model)),
        max(map(math.prod, shapes.values()), default=0),
    )


def measure_first(
    model: ir.Model,
    tries: Iterable[Mapping[str, Sequence[int]]],
    fits: Callable[[Measurement], bool] = lambda found: True,
) -> Measurement:
    """``measure`` for the first sizes that fit, and that no layer's window is too large for.

    Where shapes stay unknown in all of them, for the first that fits, else for the first; sizes
    above four million elements, and those that were tried, are left out.
    """
    found: list[Measurement] = []
    for sizes in tries:
        large = any(math.prod(shape) > _MOST_TRIED for shape in sizes.values())
        seen = {name: tuple(shape) for name, shape in sizes.items()} in [one.sizes for one in found]
        if seen or (found and large):
            continue
        found.append(measure(model, sizes))
        if not found[-1].estimated and fits(found[-1]):
            return found[-1]
    return next((one for one in found if one.estimated and fits(one)), found[0])


def _layer(node: ir.Node, shapes: Mapping[str, Sequence[int]]) -> Layer | None:
    dtype = _dtype(node)
    if dtype is None:
        return None
    counted = node_multiply_adds(node, shapes)
    if counted == 0 and node_multiplies(node):
        counted = None  # its window is larger than the input
    estimated = counted is None
    if counted is None:
        held = [one.const_value for one in node.inputs if one is not None]
        counted = max((tensor.size for tensor in held if tensor is not None), default=1)
    moved = 0
    if node.op_type not in MOVES:
        values = [one for one in (*node.inputs, *node.outputs) if one is not None]
        moved = max((math.prod(shapes[str(one.name)]) for one in values if one.name in shapes),
                    default=0)  # fmt: skip
    return Layer(
        name=str(node.name),
        operator=node.op_type,
        dtype=dtype,
        multiply_adds=counted,
        operations=2 * counted or moved,
        estimated=estimated,
    )


def _dtype(node: ir.Node) -> str | None:
    """Type that a node computes in; None for indices, shapes and the like."""
    if node.op_type in INTEGER:  # some of them take eight-bit floats, too
        kinds = [one.dtype for one in node.inputs if one is not None and one.dtype is not None]
        return "other" if any(kind.name.startswith("FLOAT8") for kind in kinds) else "int8"
    quantised = [_quantised(one) for one in node.inputs[:2]] if node_multiplies(node) else []
    if quantised and None not in quantised:
        return "int8" if _EIGHT.issuperset(quantised) else "other"
    kinds = [one.dtype for one in node.outputs if one.name and one.dtype in FLOATS]
    if not kinds:
        kinds = [one.dtype for one in node.inputs if one is not None and one.dtype in FLOATS]
        if not kinds or node.op_type in MOVES:
            return None
    return _NAMES.get(kinds[0] or ir.DataType.UNDEFINED, "other")


def _quantised(value: ir.Value | None) -> ir.DataType | None:
    """The type of what a value is dequantised from; None of what is not."""
    maker = None if value is None else value.producer()
    while maker is not None and maker.op_type in _TRANSPARENT and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer()
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    zero = maker.inputs[2] if len(maker.inputs) > 2 else None
    given = zero or maker.inputs[0]
    # com.microsoft, which ONNX has no rules for, has a guessed type; without a zero point 8 bits
    if given is None or given.dtype is None or given.dtype in FLOATS:
        return ir.DataType.UINT8
    return given.dtype


def _weights(model: ir.Model) -> list[Weight]:
    """Constants that reach a layer: other tables (positions, anchors) are data of the graph."""
    layers = between(model)
    found = []
    for value in model.graph.initializers.values():
        if value.const_value is None or value.const_value.size <= 1:
            continue  # factors and limits are no weights
        users = list(dict.fromkeys(use.node for use in value.uses()))
        held = value.const_value.dtype in _EIGHT and any(
            "Dequantize" in node.op_type or node.op_type in INTEGER for node in users
        )
        if value.const_value.dtype not in FLOATS and not held:
            continue
        dtype = "int8" if held else _NAMES[value.const_value.dtype]
        if not any(_is_layer(node, layers) for node in _takers(value)):
            continue
        names = tuple(str(node.name) for node in users)
        found.append(Weight(str(value.name), dtype, value.const_value.size, names))
    return found


def _is_layer(node: ir.Node, layers: set[ir.Node]) -> bool:
    looked_up = node.op_type == "Gather" and len(node.inputs) > 1 and node.inputs[1] is not None
    rows = node.inputs[1] if looked_up else None
    table = rows is not None and not rows.is_initializer()
    return node in layers or table or node.op_type.endswith("Normalization")


def _takers(value: ir.Value) -> list[ir.Node]:
    """Nodes that compute with a value, behind what only converts, turns, cuts and joins it."""
    found, waiting = [], [value]
    while waiting:
        for use in waiting.pop().uses():
            if use.node.op_type in _PASSES:
                waiting += use.node.outputs
            found.append(use.node)
    return found


def _sum(parts: object) -> Counter[str]:
    totals: Counter[str] = Counter()
    for dtype, amount in parts:  # type: ignore[attr-defined]
        totals[dtype] += amount
    return totals


def _share(totals: Counter[str], dtype: str) -> float:
    return totals[dtype] / totals.total() if totals.total() else 1.0
