"""Axes for ``Squeeze`` nodes that name none, by the sizes that an engine is built for.

Such a node takes away every axis of size 1, so its rank may differ from call to call; TensorRT
settles ranks when it builds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from dlkit.bundle.engine import Range
from dlkit.errors import ExportError
from dlkit.graph.shapes import known_shapes
from dlkit.graph.tidy import every_node, fresh, tidied

_AXES_AS_INPUT = 13  # opset from which axes are an input


def with_axes(path: Path, shapes: Mapping[str, Range]) -> bytes | None:
    """The graph of a file with axes for each such node; None where there is none. Weights that lie
    beside the file stay there.

    Args:
        shapes: smallest, best and largest shape of each input by its name.

    Raises:
        ExportError: a node takes away other axes from the smallest inputs than from the largest.
    """
    try:
        model = ir.load(path)
    except Exception:  # whatever no graph makes it raise: TensorRT says what it thinks of it
        return None
    if not any(map(_names_none, every_node(model))):
        return None
    model = tidied(model)  # each tensor has a name of its own
    nodes = [node for node in every_node(model) if _names_none(node)]
    sizes = [{name: ends[place] for name, ends in shapes.items()} for place in range(3)]
    known = [known_shapes(model, size) for size in sizes]
    for node in nodes:
        taken = str(node.inputs[0].name) if node.inputs[0] is not None else ""
        found = [shape[taken] for shape in known if taken in shape]
        axes = {tuple(place for place, size in enumerate(shape) if size == 1) for shape in found}
        if len(axes) > 1:
            small, large = ("x".join(map(str, shape)) for shape in (found[0], found[-1]))
            raise ExportError(
                f"Squeeze {node.name} of {path} names no axes: of {small} and of {large}, which "
                "the engine is asked to take, it takes away different ones",
                "Build one engine where that axis is 1 (--batch 1, or --axis NAME=1), or one where "
                "it is 2 or more",
            )
        if len(found) == len(known):
            _name(model, node, axes.pop())
    return bytes(ir.to_proto(model).SerializeToString())


def _names_none(node: ir.Node) -> bool:
    given = len(node.inputs) > 1 and node.inputs[1] is not None
    return node.op_type == "Squeeze" and not given and "axes" not in node.attributes


def _name(model: ir.Model, node: ir.Node, axes: tuple[int, ...]) -> None:
    if model.opset_imports.get("", 1) < _AXES_AS_INPUT:
        node.attributes.add(ir.AttrInt64s("axes", axes))
        return
    name = fresh(model, f"{node.outputs[0].name}_axes")
    value = ir.Value(name=name, const_value=ir.tensor(np.array(axes, np.int64), name=name))
    model.graph.register_initializer(value)
    node.resize_inputs(2)
    node.replace_input_with(1, value)
