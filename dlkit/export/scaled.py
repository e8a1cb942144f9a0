"""Layers whose weights or results half precision cannot hold, in a size that it can.

A product with w equals one with w x 2^k, divided by 2^k: exactly, in float32 as in float16, since
only exponents change; each output channel has its own k. So the layer can be half precision; what
divides its result again is float32.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dlkit.graph.tidy import infer

_LAYERS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_LARGEST = -3  # exponent of the largest weight: 1000 times smaller ones keep all their digits
_MOST = 120  # 2^-126 is float32's smallest with all its digits


def scaled(model: ir.Model, lost: Collection[str]) -> ir.Model:
    """Rewrite a prepared float32 graph in place, which then computes the same; gives it back.

    Args:
        lost: names of tensors that half precision cannot hold.
    """
    found = False
    for weight in list(model.graph.initializers.values()):
        given = {use.node.outputs[0].name for use in weight.uses()}
        if (weight.name in lost or not given.isdisjoint(lost)) and _scalable(weight):
            _scale(model.graph, weight)
            found = True
    if found:
        infer(model)
    return model


def output_axis(weight: ir.Value) -> int | None:
    """The axis of a layer's weight that is the output's channels, the same for all that take it;
    None where there is none."""
    found = {_axis(use.node, use.idx, weight) for use in weight.uses()}
    return found.pop()[1] if len(found) == 1 else None


def _axis(node: ir.Node, place: int, weight: ir.Value) -> tuple[bool, int | None]:
    """Whether channels are the second axis of what comes out, or the last; and the weight's."""
    dimensions = 0 if weight.shape is None else len(weight.shape)
    convolves = node.op_type.startswith("Conv")

    def number(name: str, otherwise: int) -> int:
        return node.attributes[name].as_int() if name in node.attributes else otherwise

    if node.op_type not in _LAYERS or place != 1 or dimensions < 2:
        return convolves, None
    if node.op_type == "Conv":
        return convolves, 0
    if node.op_type == "ConvTranspose":
        return convolves, 1 if number("group", 1) == 1 else None
    turned = node.op_type == "Gemm" and number("transB", 0)
    return convolves, 0 if turned else dimensions - 1


def _scalable(weight: ir.Value) -> bool:
    """Whether all that takes a weight multiplies by it, and nothing else is in the way."""
    array = None if weight.const_value is None else weight.const_value.numpy()
    largest = 0.0 if array is None else float(np.abs(array).max(initial=0))
    if not largest or not math.isfinite(largest):
        return False
    return all(
        use.node.op_type in _LAYERS and use.idx == 1
        and use.node.outputs[0].shape is not None
        and all(use.node.attributes[name].as_float() == 1 for name in ("alpha", "beta")
                if name in use.node.attributes)
        for use in weight.uses()
    )  # fmt: skip


def _scale(graph: ir.Graph, weight: ir.Value) -> None:
    assert weight.const_value is not None
    array = weight.const_value.numpy()
    nodes = [use.node for use in weight.uses()]
    axis = output_axis(weight)
    others = None if axis is None else tuple(one for one in range(array.ndim) if one != axis)
    largest = np.abs(array).max(axis=others, keepdims=True)
    exponent = np.where(largest > 0, _LARGEST - np.frexp(largest)[1], 0)
    exponent = np.clip(exponent, -_MOST, _MOST)
    weight.const_value = ir.tensor(np.ldexp(array, exponent).astype(np.float32), name=weight.name)
    form = [] if axis is None else [-1]
    if axis is not None and nodes[0].op_type.startswith("Conv"):
        form += [1] * (array.ndim - 2)
    factors = np.ldexp(np.float32(1), -exponent).astype(np.float32).reshape(form)
    back = _constant(graph, factors, f"{weight.name}_back")
    for node in nodes:
        _divide(graph, node, back)


def _divide(graph: ir.Graph, node: ir.Node, back: ir.Value) -> None:
    """What a layer gives, in its own size again, and its bias behind that."""
    output = node.outputs[0]
    assert output.shape is not None
    assert isinstance(node.graph, ir.Graph)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    uses, name = list(output.uses()), output.name
    nodes = [_node("Mul", [output, back], f"{name}_unscaled")]
    if bias is not None:
        node.resize_inputs(2)  # an empty one is refused by TensorRT
        if node.op_type.startswith("Conv"):
            form = np.array([1, -1, *[1] * (len(output.shape) - 2)], np.int64)
            shape = _constant(graph, form, f"{name}_form")
            nodes.append(_node("Reshape", [bias, shape], f"{name}_bias"))
            bias = nodes[-1].outputs[0]
        nodes.append(_node("Add", [nodes[0].outputs[0], bias], f"{name}_biased"))
    last = nodes[-1].outputs[0]
    node.graph.insert_after(node, nodes)
    for user, place in uses:
        user.replace_input_with(place, last)
    for place, value in enumerate(node.graph.outputs):
        if value is output:
            output.name, last.name = last.name, name
            node.graph.outputs[place] = last


def _node(operator: str, inputs: list[ir.Value], name: str) -> ir.Node:
    node = ir.node(operator, inputs, name=name)
    node.outputs[0].name, node.outputs[0].dtype = name, ir.DataType.FLOAT
    return node


def _constant(graph: ir.Graph, array: NDArray[Any], name: str) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype),
                     const_value=tensor)  # fmt: skip
    graph.register_initializer(value)
    return value
