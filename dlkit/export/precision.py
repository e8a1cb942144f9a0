"""Precision in the graph: a float32 ONNX graph rewritten to compute in float16.

Convolutions, matrix products and what lies between them become float16, weights included. What
loses in half precision stays float32, with casts around it: normalisations, reductions, softmax,
and the scaling of pixels before and after the network. Inputs and outputs keep their types.
"""

from __future__ import annotations

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
# torch.onnx notes in each node the modules that it came from; the network inside the wrapper of
# dlkit.training.pixels has this name.
_SCOPES = "pkg.torch.onnx.name_scopes"
_NETWORK = "network"


def to_float16(model: ir.Model) -> ir.Model:
    """Rewrite the graph in place; gives it back.

    Raises:
        ExportError: a weight is above float16's largest value, or the graph has subgraphs.
    """
    graph = model.graph
    nodes = list(graph)
    for node in nodes:
        if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
            raise ExportError(f"node {node.name} ({node.op_type}) holds a subgraph: export as fp32")
    low = {node for node in nodes if _computes_float(node) and not _keeps_float32(node)}
    outputs = set(graph.outputs)
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
                        weights[value] = _half_weight(graph, value)
                    node.replace_input_with(index, weights[value])
                else:
                    node.replace_input_with(index, cast(value, ir.DataType.FLOAT16, node))
            elif node not in low and value in halved:
                node.replace_input_with(index, cast(value, ir.DataType.FLOAT, node))
        if node in low and node.op_type == "Cast":
            node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT16))
    for value in halved:
        if value in outputs:
            raise ExportError(f"output {value.name} would become float16: keep its node float32")
        value.dtype = ir.DataType.FLOAT16
    for name, value in list(graph.initializers.items()):
        if not value.uses() and value not in outputs:
            del graph.initializers[name]
    return model


def _computes_float(node: ir.Node) -> bool:
    return any(value.dtype == ir.DataType.FLOAT for value in node.outputs)


def _keeps_float32(node: ir.Node) -> bool:
    if node.op_type in KEEP_FLOAT32 or node.op_type.startswith(("Constant", "Reduce")):
        return True
    scopes = node.metadata_props.get(_SCOPES)
    return scopes is not None and f"'{_NETWORK}" not in scopes


def _half_weight(graph: ir.Graph, value: ir.Value) -> ir.Value:
    assert value.const_value is not None
    array = value.const_value.numpy()
    largest = float(np.abs(array).max(initial=0))
    if largest > np.finfo(np.float16).max:
        raise ExportError(
            f"weight {value.name} reaches {largest:.3g}, float16 ends at 65504: export as fp32"
        )
    name = f"{value.name}_FLOAT16"
    half = ir.Value(
        name=name,
        shape=value.shape,
        type=ir.TensorType(ir.DataType.FLOAT16),
        const_value=ir.tensor(array.astype(np.float16), name=name),
    )
    graph.register_initializer(half)
    return half
