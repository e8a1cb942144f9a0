"""What tensors inside a graph hold when ONNX Runtime runs it on the CPU, also in its subgraphs.

Those of loops and branches are no outputs, so the graph itself says how large they are: a few
numbers for each, whatever their shapes are and however many turns a loop has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from dlkit.export.extent import NUMBERS, OPSET, Extent, extent, extent_nodes, joined
from dlkit.export.half import TYPES
from dlkit.export.run_graph import open_graph
from dlkit.graph.tidy import every_node, fresh, subgraphs
from dlkit.tasks import Feeds

_SHAPES = frozenset({"Shape", "Size", "SequenceLength"})
_PER_OUTPUT = ("scan_output_axes", "scan_output_directions")  # of Scan: a number each
_TURNS = 64  # of loops where conditions are decided: they may have no end
_TRIES = 24  # branches that are reached by deciding conditions
_LIMITED = 12  # opset from which the least of two whole numbers is an operator

# Which conditions, by their places among all nodes, have which answers.
Path = tuple[tuple[int, bool], ...]


@dataclass
class Seen:
    """What was seen of some tensors.

    Attributes:
        extents: by name, in the call in which it was largest.
        vanishing: tensors of which some call had a value that half precision makes 0.
        ran: whether ONNX Runtime could run the graph on some sample.
        unseen: tensors of branches and loops that no call showed.
    """

    extents: dict[str, Extent] = field(default_factory=dict)
    vanishing: set[str] = field(default_factory=set)
    ran: bool = False
    unseen: set[str] = field(default_factory=set)

    def add(self, name: str, one: Extent) -> None:
        """Note a call."""
        before = self.extents.get(name)
        if one.count and (before is None or one.largest > before.largest):
            self.extents[name] = one
        if one.vanishes:
            self.vanishing.add(name)


def look(
    model: ir.Model,
    names: Collection[str],
    samples: Sequence[Feeds],
    precision: str,
    branches: bool = False,
) -> Seen:
    """See how large tensors of a tidied float32 graph are, which stays as it is.

    Args:
        names: of float32 tensors.
        samples: inputs, one call each; those that ONNX Runtime cannot run the graph on say nothing.
        precision: ``fp16`` or ``bf16``.
        branches: reach each branch that no sample takes by further calls, in which conditions are
            decided whatever the inputs are, and loops end after 64 turns.
    """
    main = {str(one.name) for node in model.graph for one in node.outputs}
    main |= {str(one.name) for one in model.graph.inputs}
    own, inner = sorted(main.intersection(names)), set(names) - main
    seen, opset = Seen(), model.graph.opset_imports.get("", 1)
    left = list(samples)
    if inner and opset >= OPSET:
        copy = model.clone()
        left = _run(copy, own, _expose(copy, inner, precision), left, precision, seen)
    if left:
        _run(model, own, {}, left, precision, seen)
    if branches and opset >= _LIMITED and seen.ran:
        _reach(model, inner, samples, precision, seen)
    seen.unseen = inner.difference(seen.extents) if seen.ran else set()
    return seen


def _run(
    model: ir.Model,
    own: Sequence[str],
    called: Mapping[str, str],
    samples: Sequence[Feeds],
    precision: str,
    seen: Seen,
) -> list[Feeds]:
    """Note all samples; gives those that failed. ``called``: tensors by the outputs about them."""
    proto = ir.to_proto(model)
    ends = {one.name for one in (*proto.graph.output, *proto.graph.input)}
    for name in own:
        if name not in ends:
            proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    kind, failed = TYPES[precision][1], []
    try:
        session = open_graph(proto)
    except Exception:  # ONNX Runtime's own
        return list(samples)
    for feeds in samples:
        wanted = [name for name in own if name not in feeds]
        try:
            arrays = session.run([*wanted, *called], dict(feeds)) if wanted or called else []
        except Exception:  # ONNX Runtime's own: these inputs do not fit, others may
            failed.append(feeds)
            continue
        seen.ran = True
        there: dict[str, NDArray[Any]] = {name: feeds[name] for name in own if name in feeds}
        there |= {name: np.asarray(one) for name, one in zip(wanted, arrays, strict=False)}
        for name, array in there.items():
            seen.add(name, extent(array, kind))
        for name, numbers in zip(called.values(), arrays[len(wanted) :], strict=True):
            seen.add(name, joined(np.asarray(numbers)))
    return failed


def _reach(
    model: ir.Model, inner: Collection[str], samples: Sequence[Feeds], precision: str, seen: Seen
) -> None:
    """Decide conditions, one branch after the other, from the outside in."""
    tried: set[Path] = set()
    places = {node: place for place, node in enumerate(every_node(model))}
    while len(tried) < _TRIES:
        wanted = (path for path, branch in _branches(model.graph, places)
                  if path not in tried and _is_unseen(branch, inner, seen))  # fmt: skip
        if (path := next(wanted, None)) is None:
            return
        tried.add(path)
        copy = model.clone()
        _decide(copy, dict(path))
        _run(copy, (), _expose(copy, inner, precision), samples, precision, seen)


def _branches(
    graph: ir.Graph, places: Mapping[ir.Node, int], path: Path = ()
) -> Iterator[tuple[Path, ir.Graph]]:
    """Branches, outer ones first, with the answers that lead to them; none that shapes choose,
    since the other one is for other shapes, and ONNX Runtime may crash on them."""
    inner: list[tuple[Path, ir.Graph]] = []
    for node in graph:
        for name, attribute in node.attributes.items():
            if attribute.type == ir.AttributeType.GRAPH:
                decides = node.op_type == "If"
                way = (*path, (places[node], name == "then_branch")) if decides else path
                inner.append((way, attribute.as_graph()))
                if decides and not _by_shape(node.inputs[0]):
                    yield inner[-1]
    for way, body in inner:
        yield from _branches(body, places, way)


def _by_shape(condition: ir.Value | None) -> bool:
    """Whether shapes take part in a condition."""
    waiting, found = [condition], set[ir.Node]()
    while waiting:
        value = waiting.pop()
        maker = None if value is None else value.producer()
        if maker is not None and maker not in found:
            found.add(maker)
            waiting += maker.inputs
    return any(node.op_type in _SHAPES for node in found)


def _is_unseen(branch: ir.Graph, inner: Collection[str], seen: Seen) -> bool:
    names = {str(one.name) for node in branch for one in node.outputs}.intersection(inner)
    return bool(names) and names.isdisjoint(seen.extents)


def _decide(model: ir.Model, answers: Mapping[int, bool]) -> None:
    """Give conditions answers by their places among all nodes, and loops an end, in place."""
    held = {answer: _constant(model, np.array(answer)) for answer in set(answers.values())}
    most = _constant(model, np.array(_TURNS))
    for place, node in enumerate(list(every_node(model))):
        if place in answers:
            node.replace_input_with(0, held[answers[place]])
        elif node.op_type == "Loop" and node.graph is not None:
            turns = most
            if (asked := node.inputs[0]) is not None:
                least = ir.node("Min", [asked, most])
                turns = least.outputs[0]
                turns.name = fresh(model, "turns")
                node.graph.insert_before(node, least)
            node.replace_input_with(0, turns)


def _constant(model: ir.Model, array: NDArray[Any]) -> ir.Value:
    name = fresh(model, "constant")
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    model.graph.register_initializer(value)
    return value


def _expose(model: ir.Model, names: Collection[str], precision: str) -> dict[str, str]:
    """Make the extents of tensors of subgraphs outputs, in place: tensors by these outputs."""
    exposed = _Exposed(names, TYPES[precision][0], fresh(model, "extent"))
    called = {}
    for node in list(model.graph):
        for value, name in exposed.outputs(node):
            model.graph.outputs.append(value)
            called[str(value.name)] = name
    return called


class _Exposed:
    """Outputs of nodes with subgraphs that tell of tensors in these."""

    def __init__(self, names: Collection[str], low: ir.DataType, stem: str) -> None:
        self._names, self._low, self._stem = names, low, stem
        self._count = 0

    def outputs(self, node: ir.Node) -> list[tuple[ir.Value, str]]:
        """New outputs of a node, each with the tensor that it tells of."""
        graphs = subgraphs(node)
        inner = [(graph, *one) for graph in graphs for one in self._within(graph)]
        before = len(node.outputs)
        node.resize_outputs(before + len(inner))
        for output, (graph, value, _) in zip(node.outputs[before:], inner, strict=True):
            output.name = self._name()
            for one in graphs:
                one.outputs.append(value if one is graph else self._nothing(one))
        for name in _PER_OUTPUT:
            if name in node.attributes:
                numbers = [*node.attributes[name].as_ints(), *([0] * len(inner))]
                node.attributes[name] = ir.AttrInt64s(name, numbers)
        return [(output, name) for output, (_, _, name)
                in zip(node.outputs[before:], inner, strict=True)]  # fmt: skip

    def _within(self, graph: ir.Graph) -> Iterable[tuple[ir.Value, str]]:
        found = []
        for node in list(graph):
            found += self.outputs(node)
            for value in node.outputs:
                if value.name in self._names:
                    nodes = extent_nodes(value, self._low, self._name())
                    graph.extend(nodes)
                    found.append((nodes[-1].outputs[0], str(value.name)))
        return found

    def _nothing(self, graph: ir.Graph) -> ir.Value:
        """What a branch gives in the place of another one's tensor."""
        node = ir.node("Constant", [], {"value": ir.tensor(np.zeros(NUMBERS))})
        node.outputs[0].name = self._name()
        graph.append(node)
        return node.outputs[0]

    def _name(self) -> str:
        self._count += 1
        return f"{self._stem}_{self._count}"
