"""A half-precision graph rewritten so that a CPU cannot hide what half precision does to it.

CPU backends compute float16 graphs in float32 and round only where they please: ONNX Runtime
drops the casts between neighbours, so an activation above 65504 stays finite there and becomes
infinite on a GPU. Here every value that is 16 bits wide is rounded to 16 bits and widened again,
around an Identity that keeps the two casts from cancelling (with graph optimisations off).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from dlkit.errors import BackendError
from dlkit.export.run_graph import run_graph
from dlkit.graph.tidy import every_node, tidied
from dlkit.tasks import Feeds, Outputs

ROUNDED = ("fp16", "bf16")  # precisions that need it
_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_FLOAT = ir.DataType.FLOAT


def rounded(model: ir.Model) -> ir.Model:
    """A half-precision graph, changed in place into the float32 one that rounds wherever it is half
    precision; gives it back.

    Inputs and outputs of the graph keep their types.
    """
    model = tidied(model)
    for value in model.graph.initializers.values():
        if value.dtype in _HALF and value.const_value is not None:
            wide = value.const_value.numpy().astype(np.float32)
            value.const_value = ir.tensor(wide, name=value.name)
            value.type = ir.TensorType(_FLOAT)
    ends = {(graph, place): value.dtype for graph in model.graphs()
            for place, value in enumerate(graph.outputs)}  # fmt: skip
    for node in list(every_node(model)):
        for value in node.outputs:
            if value.dtype in _HALF and value.name:
                _round(node, value)
    for value in list(model.graph.inputs):
        if value.dtype in _HALF:
            _insert(value, [_cast(value, _FLOAT)], model.graph)
    for (graph, place), kind in ends.items():
        if kind in _HALF and graph is model.graph:
            value = graph.outputs[place]
            down = _cast(value, kind)
            down.outputs[0].name, value.name = value.name, f"{value.name}_wide"
            graph.append(down)
            graph.outputs[place] = down.outputs[0]
    return model


def _round(node: ir.Node, value: ir.Value) -> None:
    """Let a node give float32, rounded to the half precision that it gave."""
    half = value.dtype
    assert half is not None
    if node.op_type == "Cast":
        node.attributes["to"] = ir.AttrInt64("to", int(_FLOAT))
    value.type = ir.TensorType(_FLOAT)
    down = _cast(value, half)
    hold = ir.node("Identity", [down.outputs[0]], name=f"{value.name}_hold")
    hold.outputs[0].name, hold.outputs[0].dtype = f"{value.name}_hold", half
    assert isinstance(node.graph, ir.Graph)
    _insert(value, [down, hold, _cast(hold.outputs[0], _FLOAT)], node.graph, node)


def _insert(
    value: ir.Value, nodes: list[ir.Node], graph: ir.Graph, after: ir.Node | None = None
) -> None:
    """Put nodes between a value and all that takes it."""
    last, uses = nodes[-1].outputs[0], list(value.uses())
    for user, place in uses:
        if user is not nodes[0]:
            user.replace_input_with(place, last)
    for place, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[place] = last
            last.name, value.name = value.name, f"{value.name}_full"
    if after is None:
        graph.insert_before(graph[0], nodes)
    else:
        graph.insert_after(after, nodes)


def _cast(value: ir.Value, kind: ir.DataType) -> ir.Node:
    name = f"{value.name}_{kind.name.lower()}"
    node = ir.node("Cast", [value], {"to": ir.AttrInt64("to", int(kind))}, name=name)
    node.outputs[0].name, node.outputs[0].dtype = name, kind
    node.outputs[0].shape = value.shape
    return node


def run_rounded(graph: ir.Model, batches: Sequence[Feeds]) -> Outputs:
    """Outputs of a half-precision graph, on the CPU, rounded as it says; ``rounded`` changes it.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """
    try:
        return run_graph(rounded(graph), batches, optimise=False)
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        raise BackendError(f"onnxruntime cannot run the rounded graph: {error}") from error
