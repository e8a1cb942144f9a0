"""Multiply-adds of one layer of a TensorRT network: the one place that knows them by kind."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from types import ModuleType
from typing import Any

# TensorRT's class of each kind of layer that has more than names, inputs and outputs.
CLASSES = {
    "CONVOLUTION": "IConvolutionLayer",
    "DECONVOLUTION": "IDeconvolutionLayer",
    "MATRIX_MULTIPLY": "IMatrixMultiplyLayer",
    "EINSUM": "IEinsumLayer",
    "CONSTANT": "IConstantLayer",
    "ITERATOR": "IIteratorLayer",
    "RECURRENCE": "IRecurrenceLayer",
    "TRIP_LIMIT": "ITripLimitLayer",
    "LOOP_OUTPUT": "ILoopOutputLayer",
    "ATTENTION_INPUT": "IAttentionInputLayer",
}
MULTIPLIES = frozenset(
    {"CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM", "ATTENTION_INPUT"}
)


def typed(trt: ModuleType, layer: Any) -> Any:
    """A layer as the class of its kind; the network gives all of them as ``ILayer``."""
    if (name := CLASSES.get(layer.type.name)) is not None:
        layer.__class__ = getattr(trt, name)
    return layer


def elements(shape: Sequence[int]) -> int | None:
    """Elements of a tensor; None where an axis is not known before the data are."""
    axes = [int(axis) for axis in shape]
    return None if any(axis < 0 for axis in axes) else prod(axes)


def own_weights(layer: Any) -> int:
    """Elements of the weights that a layer holds itself, and not a constant beside it."""
    kind = layer.type.name
    if kind in ("CONVOLUTION", "DECONVOLUTION"):
        return int(layer.kernel.size) + int(layer.bias.size)
    return (elements(layer.get_output(0).shape) or 0) if kind == "CONSTANT" else 0


def multiply_adds(trt: ModuleType, layer: Any, inputs: Sequence[Any]) -> int | None:
    """Multiply-adds of a layer, as ``typed`` gives it; 0 for kinds that multiply no matrices.

    Returns:
        None where a shape that it takes is not known.
    """
    kind = layer.type.name
    if kind not in MULTIPLIES:
        return 0
    output = layer.get_output(0)
    if any(elements(tensor.shape) is None for tensor in (*inputs, output)):
        return None
    shapes = [[int(axis) for axis in tensor.shape] for tensor in inputs]
    if kind in ("CONVOLUTION", "DECONVOLUTION"):
        # a convolution works at every place of its output, a transposed one at those of its input
        kernel = int(layer.kernel.size) or prod(shapes[1])
        places = output.shape if kind == "CONVOLUTION" else shapes[0]
        return int(kernel * places[0] * prod(places[2:]))
    if kind == "MATRIX_MULTIPLY":
        vector = layer.op0 == trt.MatrixOperation.VECTOR
        turned = layer.op0 == trt.MatrixOperation.TRANSPOSE
        inner = shapes[0][-2 if turned and not vector else -1]
        return int(prod(output.shape) * inner)
    if kind == "EINSUM":
        return _einsum(str(layer.equation), shapes)
    # queries by keys, and what comes of it by values: (batch, heads, length, width) each
    queries, keys, values = shapes[:3]
    return prod(queries) * keys[-2] + prod(queries[:-1]) * keys[-2] * values[-1]


def _einsum(equation: str, shapes: Sequence[Sequence[int]]) -> int:
    """One for each choice of all indices."""
    if len(shapes) < 2:
        return 0
    sizes: dict[str, int] = {}
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(sizes.get(letter, 1), size)
    return prod(sizes.values())
