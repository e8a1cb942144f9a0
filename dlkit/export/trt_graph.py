"""A bundle's graph as a TensorRT network, and what TensorRT says against it, in words that help."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import onnx_ir as ir

from dlkit.bundle import Bundle
from dlkit.bundle.engine import Range
from dlkit.errors import ExportError
from dlkit.export.half import module_of
from dlkit.export.proof.layer_arithmetic import typed
from dlkit.export.squeeze import with_axes
from dlkit.graph.tidy import every_node
from dlkit.runtime.gpu.flavor import TYPES, logger

_REASON = 300  # characters of TensorRT's error, which may name every layer
_NAMED = 3  # nodes that an error names
_ELSEWHERE = "run it with --backend onnxruntime"


def parse(trt: ModuleType, bundle: Bundle, shapes: Mapping[str, Range]) -> tuple[Any, Any]:
    """The network, and the builder that must outlive it.

    Args:
        shapes: smallest, best and largest shape of each input by its name.

    Raises:
        ExportError: TensorRT does not take the graph; names the node, its operator and its module.
    """
    for one in (*bundle.spec.inputs, *bundle.spec.outputs):
        if one.dtype not in TYPES:
            raise ExportError(
                f"{trt.__name__} has no {one.dtype}: {one}",
                f"Export the graph with float32 or int64 there, or {_ELSEWHERE}",
            )
    builder = trt.Builder(logger(trt))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger(trt))
    graph, path = with_axes(bundle.onnx, shapes), str(bundle.onnx)
    # with the file's path, so that weights beside it are found
    if not (parser.parse_from_file(path) if graph is None else parser.parse(graph, path)):
        raise _parse_error(trt, bundle, parser)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if {tensor.name for tensor in inputs} != {one.name for one in bundle.spec.inputs}:
        raise ExportError(
            f"{bundle.onnx} takes {', '.join(tensor.name for tensor in inputs)}, its model.json "
            f"says {', '.join(one.name for one in bundle.spec.inputs)}",
            "Export it again",
        )
    for tensor in inputs:
        if tensor.is_shape_tensor:
            raise ExportError(
                f"what the input {tensor.name} of {bundle.onnx} holds decides sizes inside the "
                f"graph, and engines need sizes when they are built",
                f"Make it a constant of the graph, or {_ELSEWHERE}",
            )
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type.name == "ATTENTION_INPUT":
            # Else it is built only for the shapes and types that have a kernel of their own.
            typed(trt, layer).attention.decomposable = True
    return network, builder


def build_error(trt: ModuleType, bundle: Bundle, reason: str, precision: str) -> ExportError:
    """Why a network that was parsed cannot be built, with the module of the node that it names."""
    # TensorRT for RTX 1.7 has no transposed convolution in bfloat16, for one.
    mend = "Try --precision fp16" if precision == "bf16" else ""
    named = [node for node in _nodes(bundle) if node.name and _names(reason, node.name)]
    where = ""
    if named:
        node = max(named, key=lambda node: len(node.name or ""))
        where = f" at {_at(node)}"
        mend = mend or _instead(node.op_type)
    return ExportError(f"{trt.__name__} cannot build {bundle.path}{where}: {_line(reason)}", mend)


def _names(reason: str, name: str) -> bool:
    """Whether TensorRT's words name a node; it counts layers of one node: ``name_1``."""
    return re.search(rf"(?<![\w./]){re.escape(name)}(_\d+)?(?![\w./])", reason) is not None


def _parse_error(trt: ModuleType, bundle: Bundle, parser: Any) -> ExportError:
    nodes = _nodes(bundle)
    told: dict[str, None] = {}
    operators: dict[str, None] = {}
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        node, operator = _find(nodes, error), str(error.node_operator() or "")
        code = str(error.code()).rpartition(".")[2]
        at = _at(node) if node else f"{operator} {error.node_name() or f'node {error.node()}'}"
        told[f"{at}: {_reason(error, operator)} ({code})"] = None
        operators[operator] = None
    if not told:
        return ExportError(
            f"{trt.__name__} cannot parse {bundle.onnx}: {_line(logger(trt).last)}",
            "Export it again",
        )
    listed = "; ".join(list(told)[:_NAMED])
    more = f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return ExportError(
        f"{trt.__name__} cannot parse {bundle.onnx}: {listed}{more}",
        _instead(" and ".join(filter(None, operators)) or "it"),
    )


def _instead(operators: str) -> str:
    return f"Replace {operators} by other operators where the graph is made, or {_ELSEWHERE}"


def _reason(error: Any, operator: str) -> str:
    """What TensorRT says, without its own C++; some errors say nothing but ``false``."""
    text = str(error.desc()).strip().removeprefix("Assertion failed: ")
    if re.search(r"plugin.* not found", text, re.IGNORECASE) or text in ("", "false"):
        return f"it has no {operator}" if operator else f"refused in {error.func()}"
    if quoted := re.findall(r'"([^"]+)"', text):
        return " ".join(quoted).rstrip(".")
    condition, _, words = text.partition(": ")
    return _line(words if words and re.search(r"[=(!&]", condition) else text)


def _line(text: str) -> str:
    """On one line, and no longer than one reads."""
    text = re.sub(r"^(Invalid Node - \S+|\[\S+\])\s+", "", text).partition("[checkMacros")[0]
    return " ".join(text.split()).rstrip(".")[:_REASON]


def _nodes(bundle: Bundle) -> list[ir.Node]:
    try:
        return list(every_node(ir.load(bundle.onnx)))
    except Exception:  # whatever a file that is no graph makes it raise: then no node is named
        return []


def _find(nodes: list[ir.Node], error: Any) -> ir.Node | None:
    name, place = str(error.node_name() or ""), int(error.node())
    if name:
        return next((node for node in nodes if node.name == name), None)
    if not 0 <= place < len(nodes) or nodes[place].op_type != error.node_operator():
        return None
    return nodes[place]


def _at(node: ir.Node) -> str:
    module = module_of(node)
    called = node.name or f"that gives {node.outputs[0].name}"
    return f"{node.op_type} {called}" + (f" of module {module}" if module else "")
