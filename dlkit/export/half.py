"""Precision in the graph: a float32 ONNX graph rewritten to compute in float16 or bfloat16.

Convolutions, matrix products and what lies between them become 16 bits wide, weights included.
What loses in half precision stays float32, with casts around it: normalisations, reductions,
softmax, what prepares inputs and finishes outputs, operators whose definition has no such type,
tensors that it cannot hold, and nodes that are named. Inputs and outputs of the graph and of its
subgraphs keep their types.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from dlkit.errors import ExportError
from dlkit.export.schemas import signature
from dlkit.graph.reach import between
from dlkit.graph.tidy import every_node, subgraphs

# Means and sums over many values overflow or lose digits in float16.
KEEP_FLOAT32 = frozenset(
    {"InstanceNormalization", "GroupNormalization", "LayerNormalization", "BatchNormalization",
     "LpNormalization", "RMSNormalization", "SimplifiedLayerNormalization",
     "SkipLayerNormalization", "MeanVarianceNormalization", "LRN", "Softmax", "LogSoftmax",
     "GlobalAveragePool", "GlobalLpPool", "LpPool", "CumSum", "Exp", "Log", "Pow", "Sqrt",
     "Reciprocal", "DFT", "STFT", "QuantizeLinear", "DequantizeLinear"}
)  # fmt: skip
# What rounding their weights does is no more than what it does to a convolution's: those are stored
# in half precision, and widened where they are used.
_WEIGHTED = frozenset(one for one in KEEP_FLOAT32 if one.endswith("Normalization"))
# torch.onnx notes in each node the modules that it came from; the network inside what its task puts
# around it has this name (``trace.wrapped``).
_SCOPES = "pkg.torch.onnx.name_scopes"
_NETWORK = "network"
_FLOAT = ir.DataType.FLOAT
_INTEGERS = frozenset(
    {ir.DataType.INT64, ir.DataType.INT32, ir.DataType.INT16, ir.DataType.UINT64,
     ir.DataType.UINT32, ir.DataType.UINT16}
)  # fmt: skip

# ONNX type and the type of its weights, by precision.
TYPES: dict[str, tuple[ir.DataType, np.dtype[Any]]] = {
    "fp16": (ir.DataType.FLOAT16, np.dtype(np.float16)),
    "bf16": (ir.DataType.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
}


def lowered(
    model: ir.Model, precision: str, keep: Collection[str] = (), lost: Collection[str] = ()
) -> list[ir.Node]:
    """The nodes of a tidied float32 graph that half precision takes.

    Args:
        keep: names of nodes that stay float32.
        lost: names of tensors that half precision cannot hold: what takes or gives them stays so.
    """
    low, _ = TYPES[precision]
    opsets = dict(model.graph.opset_imports)
    inside = between(model)

    def taken(node: ir.Node) -> bool:
        values = [one for one in (*node.inputs, *node.outputs) if one is not None]
        if node.name in keep or any(one.name in lost for one in values):
            return False
        if node not in inside and not _looks_up(node):
            return False
        return _can(node, low, opsets) and not _loses(node)

    return [node for node in every_node(model) if taken(node)]


def to_half(
    model: ir.Model, precision: str, keep: Collection[str] = (), lost: Collection[str] = ()
) -> ir.Model:
    """Rewrite a tidied float32 graph in place; gives it back.

    Args:
        precision: ``fp16`` or ``bf16``.
        keep, lost: as ``lowered`` takes them.

    Raises:
        ExportError: a name in ``keep`` is no node's.
    """
    names = {node.name for node in every_node(model)}
    if unknown := sorted(set(keep) - names):
        raise ExportError(
            f"to keep in fp32: the graph has no node {', '.join(map(str, unknown[:5]))}",
            "Was the list made for another network? Make it anew: dlkit verify BUNDLE --bisect",
        )
    stored = {
        node for node in every_node(model) if node.op_type in _WEIGHTED and node.name not in keep
    }
    _Rewriter(model, precision, lowered(model, precision, keep, lost), stored, lost).run()
    return model


def module_of(node: ir.Node) -> str:
    """Dotted name of the network's module that a node came from; empty where nobody noted it."""
    scopes = node.metadata_props.get(_SCOPES)
    if scopes is None:
        return ""
    named = [scope for scope in ast.literal_eval(scopes) if scope]
    inner = named[-2] if len(named) > 1 else ""  # the last one is the node itself
    return str(inner).removeprefix(_NETWORK).lstrip(".")


def _can(node: ir.Node, low: ir.DataType, opsets: dict[str, int]) -> bool:
    """Whether the operator's definition lets what this node computes be half precision."""
    found = signature(node, opsets)
    if found is None or subgraphs(node):
        return False
    given = [place for place, one in enumerate(node.outputs) if one.dtype == _FLOAT]
    if not given or not all(found.gives(place, low) for place in given):
        return False
    if "dtype" in found.attributes and "dtype" in node.attributes:
        return False  # it says itself what it gives
    taken = [place for place, one in enumerate(node.inputs) if one and one.dtype == _FLOAT]
    if node.op_type != "Cast" and not any(found.takes(place, low) for place in taken):
        return False  # so does what makes numbers of none: ConstantOfShape, RandomNormal
    values = [one for one in (*node.inputs, *node.outputs) if one is not None and one.name]
    return all(isinstance(one.type, ir.TensorType) for one in values)


def _loses(node: ir.Node) -> bool:
    """Whether this kind of node loses digits in half precision."""
    if node.op_type.startswith("Reduce") or node.op_type in KEEP_FLOAT32:
        return True
    first = node.inputs[0] if node.inputs else None
    # whole numbers above 2048 are not all there in float16
    return node.op_type == "Cast" and first is not None and first.dtype in _INTEGERS


def _looks_up(node: ir.Node) -> bool:
    """Whether a node picks rows of a table by an input (an embedding): only weights are rounded."""
    if node.op_type != "Gather" or len(node.inputs) < 2:
        return False
    table, rows = node.inputs[:2]
    return bool(table and table.is_initializer() and rows and not rows.is_initializer())


class _Rewriter:
    """One graph on its way to half precision."""

    def __init__(
        self,
        model: ir.Model,
        precision: str,
        nodes: list[ir.Node],
        stored: set[ir.Node],
        lost: Collection[str],
    ) -> None:
        self.model, self.stored, self.lost = model, stored, lost
        self.low, self.weight = TYPES[precision]
        self.nodes = set(nodes)
        self.opsets = dict(model.graph.opset_imports)
        self.halved = {one for node in nodes for one in node.outputs if one.dtype == _FLOAT}
        self.casts: dict[tuple[ir.Value, ir.DataType, ir.Graph], ir.Value] = {}
        self.halves: dict[ir.Value, ir.Value] = {}

    def run(self) -> None:
        graphs = list(self.model.graphs())
        for node in list(every_node(self.model)):
            self._inputs(node)
            if node in self.nodes and node.op_type == "Cast":
                node.attributes["to"] = ir.AttrInt64("to", int(self.low))
        for value in self.halved:
            value.type = ir.TensorType(self.low)  # a new one: copies of a graph share theirs
        for graph in graphs:
            for place, value in enumerate(graph.outputs):
                if value in self.halved:
                    graph.outputs[place] = self._widened(value)
        for name, value in list(self.model.graph.initializers.items()):
            if not value.uses() and not value.is_graph_output():
                del self.model.graph.initializers[name]

    def _inputs(self, node: ir.Node) -> None:
        """Every input in the type that the node takes from now on."""
        found = signature(node, self.opsets) if node in self.nodes else None
        for place, value in enumerate(node.inputs):
            if value is None:
                continue
            if found is not None and found.takes(place, self.low):
                if value.dtype == _FLOAT and value not in self.halved:
                    node.replace_input_with(place, self._half(value, node))
            elif value in self.halved:
                node.replace_input_with(place, self._cast(value, _FLOAT, node))
            elif node in self.stored and self._holds(value):
                half = self._half(value, node)
                node.replace_input_with(place, self._cast(half, _FLOAT, node))

    def _holds(self, value: ir.Value) -> bool:
        """A weight that half precision can hold."""
        held = value.is_initializer() and value.const_value is not None
        return held and value.dtype == _FLOAT and value.name not in self.lost

    def _half(self, value: ir.Value, node: ir.Node) -> ir.Value:
        if value.const_value is None or not value.is_initializer():
            return self._cast(value, self.low, node)
        if value not in self.halves:
            with np.errstate(over="ignore"):
                array = value.const_value.numpy().astype(self.weight)
            name = f"{value.name}_{self.low.name}"
            self.halves[value] = ir.Value(
                name=name,
                shape=value.shape,
                type=ir.TensorType(self.low),
                const_value=ir.tensor(array, name=name),
            )
            self.model.graph.register_initializer(self.halves[value])
        return self.halves[value]

    def _cast(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        graph = before.graph
        assert isinstance(graph, ir.Graph)
        if (value, dtype, graph) not in self.casts:
            node = _cast_node(value, dtype, f"{value.name}_{dtype.name}_{len(self.casts)}")
            graph.insert_before(before, node)
            self.casts[value, dtype, graph] = node.outputs[0]
        return self.casts[value, dtype, graph]

    def _widened(self, value: ir.Value) -> ir.Value:
        """A half-precision output of a graph, cast to float32 under its own name."""
        maker, name = value.producer(), value.name
        assert maker is not None
        assert isinstance(maker.graph, ir.Graph)
        value.name = f"{name}_half"
        node = _cast_node(value, _FLOAT, f"{name}_FLOAT")
        node.outputs[0].name = name
        maker.graph.insert_after(maker, node)
        return node.outputs[0]


def _cast_node(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], {"to": ir.AttrInt64("to", int(dtype))}, name=name)
    node.outputs[0].name, node.outputs[0].dtype = name, dtype
    node.outputs[0].shape = value.shape
    return node
