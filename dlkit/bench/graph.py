"""Multiply-adds of a graph, counted from its nodes and shapes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Where the weights are among a node's inputs, by operator (ONNX operator reference).
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1}
_PRODUCTS = {"MatMul": 0, "MatMulInteger": 0, "QLinearMatMul": 0}


def multiply_adds(path: Path, shape: Sequence[int]) -> int | None:
    """Multiply-adds of one call: of convolutions and matrix products, which are nearly all of it.

    Args:
        path: an ONNX file.
        shape: of its one input.

    Returns:
        None where the ``onnx`` package is not installed, or a shape cannot be told.
    """
    if importlib.util.find_spec("onnx") is None:
        return None
    import onnx

    model = onnx.load(path)
    axes = model.graph.input[0].type.tensor_type.shape.dim
    if len(axes) != len(shape):
        return None
    for axis, size in zip(axes, shape, strict=True):
        axis.Clear()
        axis.dim_value = size
    del model.graph.value_info[:]  # they name the free axes; found again with sizes
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return None
    shapes = _shapes(model.graph)
    total = 0
    for node in model.graph.node:
        count = _count(node, shapes)
        if count is None:
            return None
        total += count
    return total


def _count(node: Any, shapes: dict[str, list[int]]) -> int | None:
    """Of one node; 0 for other operators."""
    kind = node.op_type
    if kind in _CONVOLUTIONS:
        weight, output = shapes.get(node.input[_CONVOLUTIONS[kind]]), shapes.get(node.output[0])
        return None if weight is None or output is None else math.prod(output + weight[1:])
    if kind == "ConvTranspose":
        weight, given = shapes.get(node.input[1]), shapes.get(node.input[0])
        return None if weight is None or given is None else math.prod(given + weight[1:])
    if kind in _PRODUCTS or kind == "Gemm":
        left, output = shapes.get(node.input[0]), shapes.get(node.output[0])
        if left is None or output is None:
            return None
        turned = any(field.name == "transA" and field.i for field in node.attribute)
        return math.prod(output) * (left[0] if turned else left[-1])
    return 0


def _shapes(graph: Any) -> dict[str, list[int]]:
    found = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        axes = value.type.tensor_type.shape.dim
        if all(axis.HasField("dim_value") for axis in axes):
            found[value.name] = [axis.dim_value for axis in axes]
    return found
