"""Nodes of a graph that draw random numbers: it answers differently each time."""

from __future__ import annotations

import onnx_ir as ir

from dlkit.graph.tidy import every_node

_DRAW = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike")
)  # fmt: skip


def random_nodes(graph: ir.Model) -> list[str]:
    """Their names, each with its operator; a dropout is one in training mode alone."""
    return [
        f"{node.name} ({node.op_type})"
        for node in every_node(graph)
        if node.op_type in _DRAW or (node.op_type == "Dropout" and _trains(node))
    ]


def _trains(node: ir.Node) -> bool:
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    known = mode.const_value if mode is not None else None
    return mode is not None and (known is None or bool(known.numpy().any()))
