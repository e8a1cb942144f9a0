"""Sparse weights of an ONNX file as the dense ones that they stand for."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import onnx
from onnx.numpy_helper import from_array, to_array

_LARGEST = 1 << 31  # elements; a file of a few bytes may ask for any number


def sparse_parts(graph: onnx.GraphProto) -> Iterable[onnx.TensorProto]:
    """Values and places of all sparse weights of a graph and of its subgraphs."""
    for inner in _graphs(graph):
        for one in inner.sparse_initializer:
            yield from (one.values, one.indices)
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("sparse_tensor"):
                    yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)


def make_dense(graph: onnx.GraphProto) -> None:
    """Make every sparse weight of a graph, and of its subgraphs, a dense one, in place.

    Raises:
        ValueError: places outside of the shape, or one of more than two thousand million elements.
    """
    for inner in _graphs(graph):
        inner.initializer.extend(_dense(one) for one in inner.sparse_initializer)
        inner.ClearField("sparse_initializer")
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("sparse_tensor"):  # of a Constant
                    attribute.t.CopyFrom(_dense(attribute.sparse_tensor))
                    attribute.ClearField("sparse_tensor")
                    attribute.name, attribute.type = "value", onnx.AttributeProto.TENSOR


def _graphs(graph: onnx.GraphProto) -> Iterable[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """Places are those of the flattened tensor, or one along each axis (ONNX specification)."""
    shape, values, places = list(sparse.dims), to_array(sparse.values), to_array(sparse.indices)
    if min(shape, default=0) < 0 or math.prod(shape) > _LARGEST:
        raise ValueError(f"the sparse weight {sparse.values.name} is {shape}")
    if places.ndim > 1:
        places = np.ravel_multi_index(tuple(places.T), shape)
    array = np.zeros(math.prod(shape), values.dtype)
    if places.size and not 0 <= places.min() <= places.max() < array.size:
        raise ValueError(f"the sparse weight {sparse.values.name} has places outside of {shape}")
    array[places] = values
    return from_array(array.reshape(shape), sparse.values.name)
