"""Shapes of all tensors of a graph for given sizes of its inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import onnx_ir as ir
import onnxscript.optimizer

from dlkit.graph.tidy import every_node, infer, quiet

# Elements of a tensor up to which what it holds is worked out: shapes and indices, not weights.
_SMALL = 1024


def known_shapes(model: ir.Model, sizes: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Shapes by the tensors' names, of a tidied graph, which stays as it is.

    What depends on shapes alone (``Shape``, ``Gather``, ``Concat`` ... before a ``Reshape``) is
    worked out with ONNX's reference implementation; what depends on the data is left out.

    Args:
        sizes: shape of each input by its name. Tensors that cannot be, since an input is smaller
            than a window over it, are left out.
    """
    copy = model.clone()
    for value in copy.graph.inputs:
        if (shape := sizes.get(str(value.name))) is not None:
            value.shape = ir.Shape(list(shape))
    for value in copy.graph.outputs:
        value.shape = None
    with quiet():
        # inputs that the graph does not take: what inference alone tells is left
        with contextlib.suppress(Exception):
            onnxscript.optimizer.fold_constants(
                copy, input_size_limit=_SMALL, output_size_limit=_SMALL, onnx_shape_inference=True
            )
        infer(copy)
    found: dict[str, list[int]] = {}
    for graph in copy.graphs():
        for value in (*graph.inputs, *graph.initializers.values(), *graph.outputs):
            _note(found, value)
    for node in every_node(copy):
        for value in node.outputs:
            _note(found, value)
    return found


def _note(found: dict[str, list[int]], value: ir.Value) -> None:
    if value.name and value.shape is not None and value.shape.is_static():
        axes = [int(axis) for axis in value.shape.numpy()]
        if min(axes, default=0) >= 0:
            found[value.name] = axes
