"""Precision in the graph: a float32 ONNX graph rewritten to compute in float16 or bfloat16.

Convolutions, matrix products and what lies between them become 16 bits wide, weights included.
What loses in half precision stays float32, with casts around it: normalisations, reductions,
softmax, the scaling of pixels before and after the network, and nodes that are named. Inputs and
outputs of the graph keep their types.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from dlkit.errors import ExportError

# Means and sums over many values overflow or lose digits in float16.
KEEP_FLOAT32 = frozenset(
    {
        "InstanceNormalization",
        "GroupNormalization",
        "LayerNormalization",
        "BatchNormalization",
        "LpNormalization",
        "Softmax",
        "LogSoftmax",
        "ReduceMean",
        "ReduceSum",
        "ReduceL2",
        "GlobalAveragePool",
        "Exp",
        "Log",
        "Pow",
        "Resize",  # its scales are float32 by definition; the image follows by cast
    }
)
# torch.onnx notes in each node the modules that it came from; the network inside what its task puts
# around it has this name (``trace.wrapped``).
_SCOPES = "pkg.torch.onnx.name_scopes"
_NETWORK = "network"


# ONNX type and the type of its weights, by precision.
_TYPES = {
    "fp16": (ir.DataType.FLOAT16, np.dtype(np.float16)),
    "bf16": (ir.DataType.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
}


def to_half(model: ir.Model, precision: str, keep: Collection[str] = ()) -> ir.Model:
    """Rewrite the graph in place; gives it back.

    Args:
        precision: ``fp16`` or ``bf16``.
        keep: names of further nodes that stay float32.

    Raises:
        ExportError: a weight is above float16's largest value, a name in ``keep`` is no node's, or
            the graph has subgraphs.
    """
    graph = model.graph
    low_type, weight_type = _TYPES[precision]
    nodes = list(graph)
    for node in nodes:
        if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
            raise ExportError(
                f"node {node.name} ({node.op_type}) holds a subgraph, which stays float32",
                "Export with --precision fp32",
            )
    if unknown := sorted(set(keep) - {node.name for node in nodes}):
        raise ExportError(
            f"to keep in fp32: the graph has no node {', '.join(map(str, unknown[:5]))}",
            "Was the list made for another network? Make it anew: dlkit verify BUNDLE --bisect",
        )
    low = {node for node in lowered(nodes) if node.name not in keep}
    halved = {value for node in low for value in node.outputs if value.dtype == ir.DataType.FLOAT}
    casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
    weights: dict[ir.Value, ir.Value] = {}

    def cast(value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        if (value, dtype) not in casts:
            node = ir.node(
                "Cast",
                [value],
                {"to": ir.AttrInt64("to", int(dtype))},
                name=f"{value.name}_{dtype.name}",
            )
            node.outputs[0].name = f"{value.name}_{dtype.name}"
            node.outputs[0].dtype = dtype
            node.outputs[0].shape = value.shape
            graph.insert_before(before, node)
            casts[value, dtype] = node.outputs[0]
        return casts[value, dtype]

    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            if node in low and value.dtype == ir.DataType.FLOAT and value not in halved:
                if value.const_value is not None and value.producer() is None:
                    if value not in weights:
                        weights[value] = _half_weight(graph, node, value, weight_type)
                    node.replace_input_with(index, weights[value])
                else:
                    node.replace_input_with(index, cast(value, low_type, node))
            elif node not in low and value in halved:
                node.replace_input_with(index, cast(value, ir.DataType.FLOAT, node))
        if node in low and node.op_type == "Cast":
            node.attributes["to"] = ir.AttrInt64("to", int(low_type))
    for value in halved:
        value.dtype = low_type
    for place, value in enumerate(graph.outputs):
        if value in halved:
            graph.outputs[place] = _widened(graph, value)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in graph.outputs:
            del graph.initializers[name]
    return model


def lowered(nodes: Collection[ir.Node]) -> list[ir.Node]:
    """The nodes of a float32 graph that half precision takes by default."""
    return [node for node in nodes if _computes_float(node) and not _keeps_float32(node)]


def module_of(node: ir.Node) -> str:
    """Dotted name of the network's module that a node came from; empty where nobody noted it."""
    scopes = node.metadata_props.get(_SCOPES)
    if scopes is None:
        return ""
    named = [scope for scope in ast.literal_eval(scopes) if scope]
    inner = named[-2] if len(named) > 1 else ""  # the last one is the node itself
    return str(inner).removeprefix(_NETWORK).lstrip(".")


def _computes_float(node: ir.Node) -> bool:
    return any(value.dtype == ir.DataType.FLOAT for value in node.outputs)


def _keeps_float32(node: ir.Node) -> bool:
    if node.op_type in KEEP_FLOAT32 or node.op_type.startswith(("Constant", "Reduce")):
        return True
    scopes = node.metadata_props.get(_SCOPES)
    return scopes is not None and f"'{_NETWORK}" not in scopes


def _widened(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """A half-precision output of the graph, cast to float32 under its own name."""
    maker, name = value.producer(), value.name
    assert maker is not None
    value.name = f"{name}_half"
    node = ir.node("Cast", [value], {"to": ir.AttrInt64("to", int(ir.DataType.FLOAT))},
                   name=f"{name}_FLOAT")  # fmt: skip
    wide = node.outputs[0]
    wide.name, wide.dtype, wide.shape = name, ir.DataType.FLOAT, value.shape
    graph.insert_after(maker, node)
    return wide


def _half_weight(graph: ir.Graph, node: ir.Node, value: ir.Value, dtype: np.dtype[Any]) -> ir.Value:
    assert value.const_value is not None
    array = value.const_value.numpy()
    largest = float(np.abs(array).max(initial=0))
    if dtype == np.float16 and largest > np.finfo(np.float16).max:
        raise ExportError(
            f"weight {value.name} reaches {largest:.3g}, float16 ends at 65504",
            f"Keep node {node.name} in fp32 with --keep-fp32, or export as bf16 or fp32",
        )
    tensor = ir.tensor(array.astype(dtype), name=f"{value.name}_{dtype.name.upper()}")
    half = ir.Value(
        name=tensor.name, shape=value.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(half)
    return half
