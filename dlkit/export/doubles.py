"""float64 inside a graph as float32: the way to half precision leads through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dlkit.errors import ExportError
from dlkit.graph.tidy import every_node

_DOUBLE, _FLOAT = ir.DataType.DOUBLE, ir.DataType.FLOAT
_SINGLE = np.finfo(np.float32)
# What is that large means "as large as can be": a mask is made of ``finfo(float64).min``.
_MASK = np.finfo(np.float64).max / 16


def without_doubles(model: ir.Model) -> ir.Model:
    """Rewrite a tidied graph in place; gives it back. Its inputs and outputs keep their types.

    Raises:
        ExportError: a constant is beyond float32.
    """
    graph = model.graph
    if not any(_DOUBLE in {one.dtype for one in node.outputs} for node in every_node(model)):
        return model
    wide = [place for place, value in enumerate(graph.outputs) if value.dtype == _DOUBLE]
    for value in list(graph.initializers.values()):
        if value.dtype == _DOUBLE and value.const_value is not None:
            array = _single(value.const_value.numpy(), str(value.name))
            value.const_value = ir.tensor(array, name=value.name)
            value.type = ir.TensorType(_FLOAT)
    for node in every_node(model):
        for name in ("to", "dtype"):
            if name in node.attributes and node.attributes[name].as_int() == int(_DOUBLE):
                node.attributes[name] = ir.AttrInt64(name, int(_FLOAT))
        if node.op_type == "ConstantOfShape" and "value" in node.attributes:
            tensor = node.attributes["value"].as_tensor()
            if tensor.dtype == _DOUBLE:
                filled = ir.tensor(_single(tensor.numpy(), str(node.name)))
                node.attributes["value"] = ir.AttrTensor("value", filled)
        for value in node.outputs:
            if value.dtype == _DOUBLE:
                value.type = ir.TensorType(_FLOAT)
    for inner in model.graphs():
        if inner is not graph:
            for value in inner.inputs:
                if value.dtype == _DOUBLE:
                    value.type = ir.TensorType(_FLOAT)
    _ends(graph, wide)
    return model


def _single(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    """In float32. What masks is as large as can be there, too: infinity times 0 would be NaN. What
    keeps from 0 (1e-300) does so, too.

    Raises:
        ExportError: it is finite and beyond float32.
    """
    sizes = np.abs(array)
    beyond = np.isfinite(array) & (sizes > _SINGLE.max)
    if (lost := beyond & (sizes < _MASK)).any():
        raise ExportError(
            f"{name} holds {array[lost].flat[0]:.3g} in float64, float32 ends at "
            f"{_SINGLE.max:.3g}: nothing here computes in float64",
            "Scale the network so that it fits float32, and export it anew",
        )
    array = np.where(beyond, np.copysign(_SINGLE.max, array), array)
    tiny = (array != 0) & (sizes < _SINGLE.tiny)
    if tiny.all():
        array = np.copysign(_SINGLE.tiny, array)
    return np.asarray(array, np.float32)


def _ends(graph: ir.Graph, wide: list[int]) -> None:
    """Casts behind inputs and before outputs that are float64."""
    for value in graph.inputs:
        if value.dtype != _DOUBLE:
            continue
        node = ir.node("Cast", [value], {"to": ir.AttrInt64("to", int(_FLOAT))})
        cast = node.outputs[0]
        cast.name, node.name = f"{value.name}_float", f"{value.name}_float"
        cast.dtype, cast.shape = _FLOAT, value.shape
        value.replace_all_uses_with(cast)
        node.replace_input_with(0, value)
        graph.insert_before(graph[0], node)
    for place in wide:
        value = graph.outputs[place]
        maker, name = value.producer(), value.name
        if maker is None:
            continue
        value.name = f"{name}_float"
        node = ir.node("Cast", [value], {"to": ir.AttrInt64("to", int(_DOUBLE))}, name=name)
        node.outputs[0].name, node.outputs[0].dtype = name, _DOUBLE
        node.outputs[0].shape = value.shape
        graph.insert_after(maker, node)
        graph.outputs[place] = node.outputs[0]
