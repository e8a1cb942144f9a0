"""What lies between the convolutions and products of a graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import onnx_ir as ir

from dlkit.graph.arithmetic import TRANSFORMS, node_multiplies
from dlkit.graph.tidy import FLOATS, every_node, subgraphs

_Edges = Mapping[ir.Value, list[ir.Value]]


def between(model: ir.Model) -> set[ir.Node]:
    """Nodes that multiply matrices, and nodes on a way of floating-point values between such.

    What prepares the inputs (the scaling of pixels, masks, positions) or finishes the outputs
    (softmax, boxes, levels) is not among them, nor what computes shapes and indices, nor Fourier
    transforms before all that. Where nothing multiplies matrices, all nodes are.
    """
    heavy = [node for node in every_node(model)
             if node_multiplies(node) and node.op_type not in TRANSFORMS]  # fmt: skip
    if not heavy:
        return set(every_node(model))
    forward = _edges(model)
    backward: dict[ir.Value, list[ir.Value]] = defaultdict(list)
    for value, others in forward.items():
        for other in others:
            backward[other].append(value)
    after = _reached((value for node in heavy for value in _floats(node.outputs)), forward)
    before = _reached((value for node in heavy for value in _floats(node.inputs)), backward)
    found = set(heavy)
    for node in every_node(model):
        comes = any(value in after for value in _floats(node.inputs))
        if comes and any(value in before for value in _floats(node.outputs)):
            found.add(node)
    return found


def _edges(model: ir.Model) -> _Edges:
    """From each floating-point value to those that are computed from it in one step."""
    edges: dict[ir.Value, list[ir.Value]] = defaultdict(list)
    for node in every_node(model):
        taken, given = _floats(node.inputs), _floats(node.outputs)
        bodies = subgraphs(node)
        for graph in bodies:
            inner, outer = _floats(graph.inputs), _floats(graph.outputs)
            _join(edges, taken, inner)
            _join(edges, outer, [*given, *inner])  # a loop's next turn takes what this one gives
        _join(edges, taken, given)
    return edges


def _join(
    edges: dict[ir.Value, list[ir.Value]], some: list[ir.Value], others: list[ir.Value]
) -> None:
    for value in some:
        edges[value] += others


def _floats(values: Iterable[ir.Value | None]) -> list[ir.Value]:
    return [one for one in values if one is not None and one.dtype in FLOATS]


def _reached(begin: Iterable[ir.Value], edges: _Edges) -> set[ir.Value]:
    found: set[ir.Value] = set()
    waiting = list(begin)
    while waiting:
        value = waiting.pop()
        if value not in found:
            found.add(value)
            waiting += edges.get(value, ())
    return found
