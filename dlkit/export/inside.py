"""What tensors inside a graph hold when ONNX Runtime runs it on the CPU."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from dlkit.export.run_graph import open_graph
from dlkit.graph.tidy import every_node, subgraphs
from dlkit.tasks import Feeds

_DECIDED = "decided"
_PER_OUTPUT = ("scan_output_axes", "scan_output_directions")  # of Scan: a number each


def inside(
    model: ir.Model, names: Collection[str], samples: Sequence[Feeds], branches: bool = False
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Arrays of a tidied graph, which stays as it is, by the names of its tensors.

    Those of branches are empty where the other one is taken, those of bodies have all turns after
    each other; where their shapes change from turn to turn, none of subgraphs is seen. Samples that
    ONNX Runtime cannot run the graph on give nothing.

    Args:
        names: of the tensors; of subgraphs, float32 ones alone.
        samples: inputs, one call each.
        branches: the arrays of further calls, too, in which conditions hold, or do not, whatever
            the inputs are: of those that can be run.
    """
    main = {str(one.name) for node in model.graph for one in node.outputs}
    main |= {str(one.name) for one in model.graph.inputs}
    own, inner = sorted(main.intersection(names)), set(names) - main
    left = list(samples)
    if inner:
        copy = model.clone()
        left = yield from _run(copy, own, _expose(copy, inner), left)
    if left:
        yield from _run(model, own, {}, left)
    for copy in _decided(model) if inner and branches else ():
        yield from _run(copy, own, _expose(copy, inner), samples)


def _run(
    model: ir.Model, own: Sequence[str], called: Mapping[str, str], samples: Sequence[Feeds]
) -> Generator[tuple[str, NDArray[Any]], None, list[Feeds]]:
    """Arrays of all samples; gives back those that failed. ``called``: tensors by outputs."""
    proto = ir.to_proto(model)
    ends = {one.name for one in (*proto.graph.output, *proto.graph.input)}
    for name in own:
        if name not in ends:
            proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    failed = []
    try:
        session = open_graph(proto)
    except Exception:  # ONNX Runtime's own
        return list(samples)
    for feeds in samples:
        wanted = [name for name in own if name not in feeds]
        try:
            arrays = session.run([*wanted, *called], dict(feeds))
        except Exception:  # ONNX Runtime's own: these inputs do not fit, others may
            failed.append(feeds)
            continue
        yield from ((name, np.asarray(feeds[name])) for name in own if name in feeds)
        yield from zip([*wanted, *called.values()], map(np.asarray, arrays), strict=True)
    return failed


def _decided(model: ir.Model) -> Iterable[ir.Model]:
    """Copies in which all conditions of the main graph have one answer, or all there are."""
    conditions = [node for node in every_node(model) if node.op_type == "If"]
    outer = sum(node.graph is model.graph for node in conditions)
    for everywhere in (False, True) if outer < len(conditions) else (False,) if outer else ():
        for holds in (True, False):
            copy = model.clone()
            value = ir.Value(name=_DECIDED, const_value=ir.tensor(np.array(holds), name=_DECIDED))
            copy.graph.register_initializer(value)
            for node in every_node(copy):
                if node.op_type == "If" and (everywhere or node.graph is copy.graph):
                    node.replace_input_with(0, value)
            yield copy


def _expose(model: ir.Model, names: Collection[str]) -> dict[str, str]:
    """Make tensors of subgraphs outputs of the graph, in place: their names by those of outputs."""
    called = {}
    for node in list(model.graph):
        for value, name in _given(node, names):
            model.graph.outputs.append(value)
            called[str(value.name)] = name
    return called


def _given(node: ir.Node, names: Collection[str]) -> list[tuple[ir.Value, str]]:
    """New outputs of a node, with the tensors of its subgraphs that they are."""
    graphs = subgraphs(node)
    inner = [(graph, value, name) for graph in graphs for value, name in _within(graph, names)]
    before = len(node.outputs)
    node.resize_outputs(before + len(inner))
    for output, (graph, value, name) in zip(node.outputs[before:], inner, strict=True):
        for one in graphs:
            one.outputs.append(value if one is graph else _nothing(one, name))
        output.name = f"{name}_outside_{graph.name}"
    for name in _PER_OUTPUT:
        if name in node.attributes:
            numbers = [*node.attributes[name].as_ints(), *([0] * len(inner))]
            node.attributes[name] = ir.AttrInt64s(name, numbers)
    return [(output, name) for output, (_, _, name)
            in zip(node.outputs[before:], inner, strict=True)]  # fmt: skip


def _within(graph: ir.Graph, names: Collection[str]) -> list[tuple[ir.Value, str]]:
    found = []
    for node in list(graph):
        found += _given(node, names)
        for value in node.outputs:
            if value.name in names and value.dtype == ir.DataType.FLOAT:
                copy = ir.node("Identity", [value])
                copy.outputs[0].name = f"{value.name}_inside"
                copy.outputs[0].dtype = ir.DataType.FLOAT
                graph.append(copy)
                found.append((copy.outputs[0], str(value.name)))
    return found


def _nothing(graph: ir.Graph, name: str) -> ir.Value:
    """What a branch gives in the place of another one's tensor."""
    empty = ir.tensor(np.zeros(0, np.float32))
    node = ir.node("Constant", [], {"value": ir.AttrTensor("value", empty)})
    node.outputs[0].name = f"{name}_nothing_{graph.name}"
    graph.append(node)
    return node.outputs[0]
