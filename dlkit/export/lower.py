"""A float32 graph in the precision that is asked for, as the bytes of an ONNX file."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import onnxscript.optimizer
import onnxscript.rewriter
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)

from dlkit.errors import ExportError, UsageError
from dlkit.export.doubles import without_doubles
from dlkit.export.half import lowered, to_half
from dlkit.export.opsets import NEEDED, raised
from dlkit.export.ranges import see_ranges, unseen_inputs
from dlkit.export.scaled import scaled
from dlkit.export.write import serialised
from dlkit.graph.measure import MOVES
from dlkit.graph.tidy import every_node, infer, quiet, tidied
from dlkit.tasks import Feeds

Say: TypeAlias = Callable[[str], None]

_HELD = frozenset({"QuantizeLinear", "DequantizeLinear"})  # eight bits are to stay so
_FUSE = onnxscript.rewriter.RewritePass(
    [
        fuse_batchnorm_into_conv_rule,
        fuse_batchnorm_into_conv_transpose_rule,
        fuse_batchnorm_into_gemm_rule,
    ]
)


def silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Lowered:
    """A graph in its precision.

    Attributes:
        graph: bytes of the ONNX file.
        weights: bytes of the file beside it, where there are too many for the graph's own.
        left: why nodes stay float32 that half precision would take by default, by name.
        unseen: nodes in half precision of which nobody saw how large their results are.
    """

    graph: bytes
    weights: bytes = b""
    left: Mapping[str, str] = field(default_factory=dict)
    unseen: Sequence[str] = ()


def prepared(graph: ir.Model, precision: str) -> ir.Model:
    """A float32 graph, changed in place, as conversions take it; gives it back.

    It is tidied; batch normalisations behind convolutions and products are folded into those;
    float64 becomes float32; the opset is raised where the precision needs a newer one.

    Raises:
        ExportError: the opset cannot be raised.
    """
    graph = tidied(graph)
    # what folds SplitToSequence makes a Split of it that takes sizes as an input
    splits = any(node.op_type == "SplitToSequence" for node in every_node(graph))
    graph = raised(graph, max(NEEDED[precision], 13 if splits else 1), precision)
    training = any("training_mode" in node.attributes and node.attributes["training_mode"].as_int()
                   for node in every_node(graph))  # fmt: skip
    with quiet():
        if not training:
            graph = _FUSE(graph).model
        graph = passes.NameFixPass()(graph).model
    graph = without_doubles(graph)
    with quiet():
        onnxscript.optimizer.fold_constants(graph, should_fold=_folds)
    if graph.graph.opset_imports.get("", 1) < 18:  # before that, parts without sizes are equal
        for node in every_node(graph):
            if node.op_type == "Split":
                node.attributes.pop("num_outputs", None)
    infer(graph)
    return graph


def _folds(node: ir.Node) -> bool | None:
    """What is made of weights alone (cut, turned, joined) is made once and for all, if it does not
    grow by that."""
    held = [one.const_value for one in node.inputs if one is not None]
    if node.op_type in _HELD or not all(held):
        return None
    if node.op_type == "ConstantOfShape":  # weights that one number fills are weights
        return True
    given = [one.shape for one in node.outputs]
    if any(shape is None or not shape.is_static() for shape in given):
        return None
    size = sum(math.prod(shape.numpy()) for shape in given if shape is not None)
    return True if size <= sum(one.size for one in held if one is not None) else None


def lower(
    graph: ir.Model,
    name: str,
    precision: str,
    keep: Collection[str] = (),
    samples: Sequence[Feeds] = (),
    lost: Mapping[str, str] | None = None,
    random: bool = False,
) -> Lowered:
    """A float32 graph, changed in place, as an ONNX file in fp32, fp16 or bf16.

    int8 needs training inputs: ``dlkit.export.int8.search`` makes it of the float32 bytes.

    Args:
        graph: for half precision as ``prepared`` gives it.
        name: of the network, for messages.
        keep: names of nodes that stay float32.
        samples: inputs on which it is seen what half precision cannot hold.
        lost: what ``see_ranges`` found lost of this graph before.
        random: the samples were drawn: nobody knows how large inputs really are.

    Raises:
        ExportError: a node to keep is not there, or the graph is invalid.
        UsageError: nodes to keep float32 in a float32 graph.
    """
    left: dict[str, str] = {}
    names: list[str] = []
    if precision in ("fp16", "bf16"):
        unseen: Collection[str] = ()
        if lost is None:
            lost, unseen = see_ranges(graph, precision, samples)
            if lost:
                graph = scaled(graph, lost)
                lost, unseen = see_ranges(graph, precision, samples)
            if random:
                lost = unseen_inputs(graph, precision) | lost
        left = _left(graph, precision, keep, lost)
        names = _computing(lowered(graph, precision, keep, lost), unseen)
        graph = to_half(graph, precision, keep, lost)
    elif keep:
        raise UsageError(
            f"nodes to keep in fp32 make no sense in {precision}", "Use fp16, bf16 or int8"
        )
    whole, weights = serialised(graph)
    if not weights:  # the checker wants all of it in memory
        check_model(onnx.load_from_string(whole), name)
    return Lowered(whole, weights, left, names)


def check_model(model: Any, name: str) -> None:
    """Refuse a ``ModelProto`` that breaks ONNX's rules.

    Raises:
        ExportError: which rule.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{name}: the graph is invalid: {error}") from error


def _computing(nodes: Iterable[ir.Node], tensors: Collection[str]) -> list[str]:
    """Names of nodes that give some of these tensors, and more than move them."""
    return [str(node.name) for node in nodes if node.op_type not in MOVES
            and any(one.name in tensors for one in node.outputs)]  # fmt: skip


def _left(
    graph: ir.Model, precision: str, keep: Collection[str], lost: Mapping[str, str]
) -> dict[str, str]:
    """Nodes that what is lost keeps in float32, each with the reason."""
    without = {node.name for node in lowered(graph, precision, keep, lost)}
    found = {}
    for node in lowered(graph, precision, keep):
        if node.name not in without:
            values = [one for one in (*node.inputs, *node.outputs) if one is not None]
            name = next(str(one.name) for one in values if one.name in lost)
            found[str(node.name)] = f"{name} {lost[name]}"
    return found
