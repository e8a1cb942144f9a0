"""A newer opset, where a precision needs one."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir
from numpy.typing import NDArray

from dlkit.errors import ExportError
from dlkit.export.run_graph import run_graph
from dlkit.export.sample import graph_samples
from dlkit.graph.draws import random_nodes
from dlkit.graph.tidy import every_node, infer, tidied

# The first opset in which half precision is not an experiment; with convolutions in bfloat16; with
# DequantizeLinear by channel.
NEEDED = {"fp32": 1, "fp16": 7, "bf16": 22, "int8": 13}
_IR = 8  # that all of today's backends read; the converter wants no weights among the inputs
_SAME = 1e-3  # of a root of squares; conversion moves nothing but the order of sums


def raised(model: ir.Model, least: int, why: str) -> ir.Model:
    """A tidied graph in an opset that is not older than ``least``, by ONNX's own converter.

    What the converter gets wrong is put right (resizing, Hardmax); old and new graph are run on
    random inputs, where ONNX Runtime can.

    Args:
        why: what needs it, for messages.

    Raises:
        ExportError: ONNX cannot convert it, or makes something else of it; says why.
    """
    domain = "" if "" in model.graph.opset_imports else "ai.onnx"
    opset = model.graph.opset_imports.get(domain, 1)
    if opset < least:
        old = ir.to_proto(model)
        said = f"the graph has opset {opset}, {why} needs {least}, and ONNX"
        if opset < 13 <= least:
            _flatten_hardmax(model)
        proto = ir.to_proto(model)
        proto.ir_version = max(proto.ir_version, _IR)
        try:
            proto = onnx.version_converter.convert_version(proto, least)
        except (RuntimeError, ValueError, IndexError) as error:
            line = str(error).strip().partition("\n")[0]
            raise ExportError(
                f"{said} cannot convert it: {line}",
                f"Export it anew with opset {least} or later",
            ) from error
        model = tidied(ir.from_proto(proto))
        if opset < 11 <= least:
            _resize_as_before(model)
        if name := _changed(old, model):
            raise ExportError(
                f"{said}'s converter changes what it computes: {name} is another on random inputs",
                f"Export it anew with opset {least} or later",
            )
    imports = [onnx.helper.make_opsetid(name, version)
               for name, version in model.graph.opset_imports.items()]  # fmt: skip
    needed = onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True)
    model.ir_version = max(model.ir_version or 0, needed, _IR)
    return model


def _resize_as_before(model: ir.Model) -> None:
    """Before opset 11, Upsample and Resize took pixels' corners, not their middles; of the
    nearest that below where they enlarged, above where they shrank (ONNX Runtime and OpenVINO)."""
    for node in every_node(model):
        if node.op_type == "Resize" and "coordinate_transformation_mode" not in node.attributes:
            scales = node.inputs[2].const_value if len(node.inputs) > 2 and node.inputs[2] else None
            shrinks = scales is not None and bool((scales.numpy() < 1).any())
            for name, value in (
                ("coordinate_transformation_mode", "asymmetric"),
                ("nearest_mode", "ceil" if shrinks else "floor"),
            ):
                node.attributes[name] = ir.AttrString(name, value)


def _flatten_hardmax(model: ir.Model) -> None:
    """Before opset 13, Hardmax chose one of all values behind an axis, not of those along it."""
    for node in list(every_node(model)):
        taken = node.inputs[0] if node.op_type == "Hardmax" else None
        if taken is None or not isinstance(node.graph, ir.Graph):
            continue
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
        shape = ir.node("Shape", [taken], name=f"{node.name}_shape")
        flat = ir.node("Flatten", [taken], {"axis": axis}, name=f"{node.name}_flat")
        back = ir.node("Reshape", [node.outputs[0], shape.outputs[0]], name=f"{node.name}_back")
        node.outputs[0].replace_all_uses_with(back.outputs[0], replace_graph_outputs=True)
        back.replace_input_with(0, node.outputs[0])
        given, chosen = back.outputs[0], node.outputs[0]
        given.name, given.type, given.shape = chosen.name, chosen.type, chosen.shape
        chosen.name, chosen.shape = f"{node.name}_chosen", None
        node.replace_input_with(0, flat.outputs[0])
        node.attributes["axis"] = ir.AttrInt64("axis", 1)
        for one in (shape, flat):
            one.outputs[0].name = one.name
        node.graph.insert_before(node, [shape, flat])
        node.graph.insert_after(node, back)
    infer(model)


def _changed(old: onnx.ModelProto, model: ir.Model) -> str | None:
    """The first output that differs on inputs that both graphs take; None: none is known to."""
    if random_nodes(model):
        return None
    for feeds in graph_samples(model):
        try:
            before, after = (run_graph(one, [feeds], optimise=False)[0] for one in (old, model))
        except Exception:  # ONNX Runtime's own: these cannot be compared
            continue
        for name, array in before.items():
            if _differs(array, after[name]):
                return name
    return None


def _differs(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return True
    if ours.dtype.kind != "f":
        return ours.size > 0 and float(np.mean(ours != theirs)) > _SAME
    one, other = (
        np.nan_to_num(array.astype(np.float64), posinf=0, neginf=0) for array in (ours, theirs)
    )
    return bool(np.linalg.norm(one - other) > _SAME * np.linalg.norm(one))
