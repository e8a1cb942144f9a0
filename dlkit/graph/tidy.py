"""A graph in the form that everything else works on: flat, named, with known types and shapes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

FLOATS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
)
_SEQUENCES = frozenset({"SequenceConstruct", "SplitToSequence", "SequenceInsert", "SequenceErase"})
_NAMELESS = (None, "", "?", "None", "-1")
_ROUNDS = 8  # of inference behind operators that ONNX does not know; each goes on from the last


def tidied(model: ir.Model) -> ir.Model:
    """Tidy a graph in place, which then computes the same; gives it back.

    Functions of its own are inlined; constants become initializers, also those that are listed as
    inputs (IR version 3) or stand behind an Identity; every node and tensor has a name that is its
    own in the whole model; so has every free axis of the ends; nodes are in order; what subgraphs
    make of weights alone is made outside of them; types and shapes are inferred anew, whatever the
    file noted.
    """
    steps = ir.passes.Sequential(
        passes.InlinePass(),
        passes.RemoveInitializersFromInputsPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.LiftSubgraphInitializersToMainGraphPass(),
        passes.NameFixPass(),
    )
    rest = ir.passes.Sequential(passes.RemoveUnusedNodesPass(), passes.TopologicalSortPass())
    _free_axes(model.graph)
    with quiet():
        model = steps(model).model
        _own_names(model)
        for node in every_node(model):
            if node.op_type == "STFT" and "onesided" not in node.attributes:
                # its default, which ONNX's inference of shapes forgets
                node.attributes["onesided"] = ir.AttrInt64("onesided", 1)
        _without_identities(model)
        _lift_weights(model)
        model = rest(model).model
        _forget_shapes(model)
        infer(model)
    return model


def infer(model: ir.Model) -> None:
    """Types and shapes of all tensors, in place.

    What is behind an operator that ONNX has no rules for (``com.microsoft`` and others) has the
    type that the file notes, else that of the operator's first input of floating point.
    """
    ends = {value for graph in model.graphs() for value in (*graph.inputs, *graph.outputs)}
    noted: dict[ir.Value, tuple[ir.TypeProtocol | None, ir.Shape | None]] = {}
    for node in every_node(model):
        for value in node.outputs:
            if value not in ends and value.name:
                noted[value] = (value.type, value.shape)
                value.type = value.shape = None
    run = passes.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)
    with quiet():
        for _ in range(_ROUNDS):
            run(model)
            if not _guess(model, noted):
                break
    for node in every_node(model):  # onnx_ir notes the type of what a sequence holds
        for value in node.outputs if node.op_type in _SEQUENCES else ():
            if isinstance(value.type, ir.TensorType):
                value.type, value.shape = ir.SequenceType(value.type), None


def every_node(model: ir.Model) -> Iterator[ir.Node]:
    """All nodes, those of subgraphs included."""
    yield from ir.traversal.RecursiveGraphIterator(model.graph)


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """The bodies and branches of a node."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found += attribute.as_graphs()
    return found


def _own_names(model: ir.Model) -> None:
    """Nodes and tensors of different subgraphs may share a name: in place, all get their own."""
    main = model.graph
    ends = {*main.inputs, *main.outputs, *main.initializers.values()}
    nodes: set[str] = set()
    tensors = {str(one.name) for one in ends}
    for graph in model.graphs():
        for value in graph.inputs if graph is not main else ():
            value.name = _own(value.name, tensors)
    for node in every_node(model):
        node.name = _own(node.name, nodes)
        for value in node.outputs:
            if value.name and value not in ends:
                value.name = _own(value.name, tensors)


def _own(name: str | None, taken: set[str]) -> str:
    own, count = str(name), 1
    while own in taken:
        own, count = f"{name}_{count}", count + 1
    taken.add(own)
    return own


def fresh(model: ir.Model, stem: str) -> str:
    """A name, beginning with ``stem``, with which no name of a graph's tensor begins."""
    taken = {str(one.name) for node in every_node(model) for one in (*node.inputs, *node.outputs)
             if one is not None}  # fmt: skip
    for graph in model.graphs():
        taken |= {str(one.name) for one in (*graph.inputs, *graph.initializers.values())}
    while any(name.startswith(stem) for name in taken):
        stem += "_"
    return stem


def _free_axes(graph: ir.Graph) -> None:
    """Axes that are free without a name get one of their own, or two would be taken for one.

    Without a name are also "?" (PaddlePaddle's), "None" and "-1" (what Python writes), -1, and 0 of
    an input.
    """
    for values, least in ((graph.inputs, 1), (graph.outputs, 0)):
        for value in values:
            if value.shape is not None:
                value.shape = ir.Shape(
                    f"{value.name}_{place}" if _nameless(size, least) else size
                    for place, size in enumerate(value.shape)
                )


def _nameless(size: int | ir.SymbolicDim, least: int) -> bool:
    return size < least if isinstance(size, int) else size.value in _NAMELESS


def _without_identities(model: ir.Model) -> None:
    """Take out what only passes on; ends of graphs and values of outer graphs keep theirs."""
    ends = {value for graph in model.graphs() for value in graph.outputs}
    for node in list(every_node(model)):
        if node.op_type != "Identity" or node.domain not in ("", "ai.onnx"):
            continue
        given, taken = node.outputs[0], node.inputs[0]
        if taken is None or given in ends or not node.graph:
            continue
        if taken.is_initializer() or taken.graph is node.graph:
            given.replace_all_uses_with(taken)
            node.graph.remove(node, safe=True)


def _lift_weights(model: ir.Model) -> None:
    """Move nodes of subgraphs that take nothing but weights into the main graph."""
    main, lifted = model.graph, set[ir.Value]()
    ends = {value for graph in model.graphs() for value in graph.outputs}
    first = next(iter(main), None)
    for node in list(every_node(model)):
        taken = [one for one in node.inputs if one is not None]
        constant = bool(taken) and all(one.is_initializer() or one in lifted for one in taken)
        if node.graph is main or not constant or first is None or subgraphs(node):
            continue
        if ends.isdisjoint(node.outputs) and not node.op_type.startswith("Random"):
            assert node.graph is not None
            node.graph.remove(node)
            main.insert_before(first, node)
            lifted |= set(node.outputs)


def _forget_shapes(model: ir.Model) -> None:
    """What bodies and branches give has the shape that follows, whatever the file notes of it
    (PaddlePaddle's exporter notes wrong ranks, which ONNX Runtime does not look at)."""
    for graph in model.graphs():
        if graph is not model.graph:
            for value in graph.outputs:
                value.shape = None


def _guess(
    model: ir.Model, noted: dict[ir.Value, tuple[ir.TypeProtocol | None, ir.Shape | None]]
) -> bool:
    """Types of what the first untyped operators give; whether there was one."""
    found = False
    for node in every_node(model):
        known = all(value is None or value.type is not None for value in node.inputs)
        for value in node.outputs:
            if value.type is not None or value not in noted or not known:
                continue
            kind, shape = noted[value]
            first = next((one for one in node.inputs if one and one.dtype in FLOATS), None)
            if kind is None and first is not None and first.dtype is not None:
                kind = ir.TensorType(first.dtype)
            if kind is not None:
                value.type, value.shape, found = kind, shape, True
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What inference and folding cannot tell is not a warning to the user, and 0 / 0 is none."""
    logger = logging.getLogger("onnx_ir")
    before, logger.disabled = logger.level, True
    logger.setLevel(logging.CRITICAL)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        logger.disabled = False
        logger.setLevel(before)
