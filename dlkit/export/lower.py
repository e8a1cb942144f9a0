"""A float32 graph in the precision that is asked for, as the bytes of an ONNX file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeAlias

import onnx
import onnx_ir as ir

from dlkit.errors import ExportError, UsageError
from dlkit.export.half import to_half

Say: TypeAlias = Callable[[str], None]


def silent(_: str) -> None:
    """Say nothing."""


def lower(graph: ir.Model, name: str, precision: str, keep: Collection[str] = ()) -> bytes:
    """A float32 graph, changed in place, as the bytes of an ONNX file in fp32, fp16 or bf16.

    int8 needs training inputs: ``dlkit.export.int8.search`` makes it of the float32 bytes.

    Args:
        name: of the network, for messages.
        keep: names of nodes that stay float32.

    Raises:
        ExportError: a node to keep is not there, a weight does not fit, or the graph is invalid.
        UsageError: nodes to keep float32 in a float32 graph.
    """
    if precision in ("fp16", "bf16"):
        graph = to_half(graph, precision, keep)
    elif keep:
        raise UsageError(
            f"nodes to keep in fp32 make no sense in {precision}", "Use fp16, bf16 or int8"
        )
    proto = ir.to_proto(graph)
    check_model(proto, name)
    return bytes(proto.SerializeToString())


def check_model(model: Any, name: str) -> None:
    """Refuse a ``ModelProto`` that breaks ONNX's rules.

    Raises:
        ExportError: which rule.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{name}: the graph is invalid: {error}") from error
