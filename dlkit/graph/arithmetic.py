"""Multiply-adds of one node: the one place that knows them by operator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

# Where the weights are among a node's inputs, by operator (ONNX and ONNX Runtime's operator lists).
_CONVOLUTIONS = {
    "Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1, "NhwcConv": 1, "DeformConv": 1,
    "NhwcFusedConv": 1,
}  # fmt: skip
_PRODUCTS = {
    "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3), "Gemm": (0, 1),
    "FusedMatMul": (0, 1), "FusedGemm": (0, 1), "MatMulIntegerToFloat": (0, 1),
    "DynamicQuantizeMatMul": (0, 1), "QGemm": (0, 3), "MatMulNBits": (0, 1),
}  # fmt: skip
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}  # matrices of each weight
TRANSFORMS = frozenset({"DFT", "STFT"})
INTEGER = frozenset(
    {"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "MatMulIntegerToFloat",
     "DynamicQuantizeMatMul", "QGemm"}
)  # fmt: skip
HEAVY = frozenset(
    {*_CONVOLUTIONS, *_PRODUCTS, *_GATES, *TRANSFORMS, "ConvTranspose", "Einsum", "Attention",
     "MultiHeadAttention"}
)  # fmt: skip

Shapes = Mapping[str, Sequence[int]]


def node_multiply_adds(node: ir.Node, shapes: Shapes) -> int | None:
    """Multiply-adds of a node; 0 for operators that neither multiply matrices nor transform.

    Args:
        shapes: of the tensors that it takes and gives, by name.

    Returns:
        None where a shape that it takes is not known.
    """
    kind = node.op_type
    if kind not in HEAVY:
        return 0
    if kind in _CONVOLUTIONS or kind == "ConvTranspose":
        # a convolution works at every place of its output, a transposed one at those of its input
        weight = _shape(node.inputs, _CONVOLUTIONS.get(kind, 1), shapes)
        places = _shape(node.inputs if kind == "ConvTranspose" else node.outputs, 0, shapes)
        if weight is None or places is None:
            return None
        return math.prod([*places, *weight[1:]])
    if kind in _PRODUCTS:
        left, output = _shape(node.inputs, 0, shapes), _shape(node.outputs, 0, shapes)
        if not left or output is None:
            return None
        turned = "transA" in node.attributes and node.attributes["transA"].as_int()
        return math.prod(output) * (left[-2] if turned and len(left) > 1 else left[-1])
    if kind in _GATES:
        return _recurrent(node, shapes)
    if kind == "Einsum":
        return _einsum(node, shapes)
    if kind in TRANSFORMS:
        return _transform(node, shapes)
    return _attention(node, shapes)


def node_multiplies(node: ir.Node) -> bool:
    """Whether a node has multiply-adds."""
    return node_multiply_adds(node, {}) != 0


def _shape(values: Sequence[ir.Value | None], place: int, shapes: Shapes) -> Sequence[int] | None:
    value = values[place] if place < len(values) else None
    return None if value is None else shapes.get(str(value.name))


def _recurrent(node: ir.Node, shapes: Shapes) -> int | None:
    """Each step of each direction multiplies by W and R, (directions, gates x hidden, size)."""
    steps = _shape(node.inputs, 0, shapes)
    weights = [_shape(node.inputs, place, shapes) for place in (1, 2)]
    if steps is None or weights[0] is None or weights[1] is None:
        return None
    return math.prod(steps[:2]) * sum(math.prod(one) for one in weights if one is not None)


def _einsum(node: ir.Node, shapes: Shapes) -> int | None:
    """One for each choice of all indices; an ellipsis counts as what it stands for."""
    terms = node.attributes["equation"].as_string().replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for place, term in enumerate(terms):
        shape = _shape(node.inputs, place, shapes)
        if shape is None:
            return None
        before, dots, after = term.partition("...")
        middle = [f".{at}" for at in range(len(shape) - len(before) - len(after))] if dots else []
        for letter, size in zip([*before, *middle, *after], shape, strict=False):
            sizes[letter] = max(sizes.get(letter, 1), size)
    return math.prod(sizes.values()) if len(terms) > 1 else 0


def _transform(node: ir.Node, shapes: Shapes) -> int | None:
    """Of a fast transform of length N 2 N log2 N (Cooley and Tukey, 1965: N / 2 log2 N complex
    products), half of it where half of what it gives is left out."""
    given, taken = _shape(node.outputs, 0, shapes), _shape(node.inputs, 0, shapes)
    if given is None or taken is None:
        return None
    if node.op_type == "STFT":
        window = _shape(node.inputs, 2, shapes)
        length = _number(node, 3) or (window[0] if window else None)
    else:
        axis = _number(node, 2)  # an attribute before opset 20
        if axis is None:
            axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -2
        length = _number(node, 1) or taken[axis]
    if length is None:
        return None
    return math.prod(given[:-1]) * 2 * math.ceil(math.log2(max(2, length)))


def _number(node: ir.Node, place: int) -> int | None:
    """A whole number that the graph holds; None where there is none."""
    value = node.inputs[place] if place < len(node.inputs) else None
    held = None if value is None else value.const_value
    return None if held is None or held.size != 1 else int(held.numpy().item())


def _attention(node: ir.Node, shapes: Shapes) -> int | None:
    """Queries by keys and the result by values: 2 x batch x width x queries x keys."""
    queries, keys = _shape(node.inputs, 0, shapes), _shape(node.inputs, 1, shapes)
    if queries is None or keys is None or len(queries) < 3 or len(keys) < 3:
        return None
    return 2 * math.prod(queries) * keys[-2]
