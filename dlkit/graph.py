"""Multiply-adds of a graph, counted from its nodes and shapes: the one place that counts them."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

Shapes: TypeAlias = Mapping[str, Sequence[int]]

# Where the weights are among a node's inputs, by operator (ONNX operator reference).
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1}
_PRODUCTS = {"MatMul", "MatMulInteger", "QLinearMatMul", "Gemm"}


def multiply_adds(path: Path, shape: Sequence[int] | Shapes) -> int | None:
    """Multiply-adds of one call: of convolutions and matrix products, which are nearly all of it.

    Args:
        path: an ONNX file.
        shape: of its one input, or of each input by name.

    Returns:
        None where the ``onnx`` package is not installed, or a shape cannot be told.
    """
    if importlib.util.find_spec("onnx") is None:
        return None
    import onnx

    model = onnx.load(path)
    given = shape if isinstance(shape, Mapping) else {model.graph.input[0].name: shape}
    shapes = infer_shapes(model, given)
    if shapes is None:
        return None
    counts = [node_multiply_adds(node, shapes) for node in model.graph.node]
    return None if None in counts else sum(count or 0 for count in counts)


def infer_shapes(model: Any, given: Shapes) -> dict[str, list[int]] | None:
    """Shapes of all tensors by name, weights among them; the ``ModelProto`` is changed.

    Args:
        given: shape of each input.

    Returns:
        What is known; None where the inputs do not fit or the graph contradicts itself.
    """
    import onnx

    for value in model.graph.input:
        axes = value.type.tensor_type.shape.dim
        if value.name not in given or len(axes) != len(given[value.name]):
            return None
        for axis, size in zip(axes, given[value.name], strict=True):
            axis.Clear()
            axis.dim_value = size
    del model.graph.value_info[:]  # they name the free axes; found again with sizes
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return None
    found = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]:
        axes = value.type.tensor_type.shape.dim
        if all(axis.HasField("dim_value") for axis in axes):
            found[value.name] = [axis.dim_value for axis in axes]
    return found


def node_multiply_adds(node: Any, shapes: Shapes) -> int | None:
    """Multiply-adds of a ``NodeProto``; 0 for other operators than convolutions and products.

    Returns:
        None where a shape that it takes is not known.
    """
    kind = node.op_type
    if kind in _CONVOLUTIONS or kind == "ConvTranspose":
        # a convolution works at every place of its output, a transposed one at those of its input
        place = node.input[0] if kind == "ConvTranspose" else node.output[0]
        weight, places = shapes.get(node.input[_CONVOLUTIONS.get(kind, 1)]), shapes.get(place)
        if weight is None or places is None:
            return None
        return math.prod([*places, *weight[1:]])
    if kind in _PRODUCTS:
        left, output = shapes.get(node.input[0]), shapes.get(node.output[0])
        if left is None or output is None:
            return None
        turned = any(field.name == "transA" and field.i for field in node.attribute)
        return math.prod(output) * (left[0] if turned else left[-1])
    return 0
