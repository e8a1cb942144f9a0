"""Which types an operator takes: from the operators' own definitions, ONNX's and ONNX Runtime's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import onnx
import onnx_ir as ir

from dlkit.errors import ExportError

_ONNX = ("", "ai.onnx")
_NAMES = {
    ir.DataType.FLOAT: "tensor(float)",
    ir.DataType.FLOAT16: "tensor(float16)",
    ir.DataType.BFLOAT16: "tensor(bfloat16)",
}


@dataclass(frozen=True)
class Signature:
    """What a node takes and gives.

    Attributes:
        inputs, outputs: of each, the name of its type, e.g. ``T``, or a fixed one; the last counts
            for all that follow where the operator takes any number.
        allowed: for each name of a type the types that it may be, e.g. ``tensor(float16)``.
        attributes: that the operator has.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    allowed: dict[str, frozenset[str]]
    attributes: frozenset[str]

    def takes(self, place: int, dtype: ir.DataType) -> bool:
        """Whether an input may have a type."""
        return self._may(self.inputs, place, dtype)

    def gives(self, place: int, dtype: ir.DataType) -> bool:
        """Whether an output may have a type."""
        return self._may(self.outputs, place, dtype)

    def _may(self, kinds: tuple[str, ...], place: int, dtype: ir.DataType) -> bool:
        if not kinds:
            return False
        kind = kinds[min(place, len(kinds) - 1)]
        return _NAMES[dtype] in self.allowed.get(kind, frozenset({kind}))


def signature(node: ir.Node, opsets: dict[str, int]) -> Signature | None:
    """What a node's operator takes and gives in the opset that its graph uses; None if unknown."""
    domain = "" if node.domain in _ONNX else node.domain
    return _signature(node.op_type, domain, opsets.get(domain, opsets.get("ai.onnx", 1)))


def check_known(node: ir.Node, opsets: dict[str, int]) -> None:
    """Refuse an operator that nobody here knows.

    Raises:
        ExportError: names node and operator.
    """
    if signature(node, opsets) is None:
        domain = f"{node.domain}." if node.domain else ""
        raise ExportError(
            f"node {node.name} is {domain}{node.op_type}, which neither ONNX "
            f"{onnx.__version__} nor ONNX Runtime defines",
            "Export the network without it, or as a function of its own in the file",
        )


@cache
def _signature(operator: str, domain: str, version: int) -> Signature | None:
    if domain == "":
        try:
            schema = onnx.defs.get_schema(operator, version, domain)
        except onnx.defs.SchemaError:
            return None
        return Signature(
            tuple(one.type_str for one in schema.inputs),
            tuple(one.type_str for one in schema.outputs),
            {one.type_param_str: frozenset(one.allowed_type_strs)
             for one in schema.type_constraints},
            frozenset(schema.attributes),
        )  # fmt: skip
    known = [one for one in _runtime_schemas().get((domain, operator), ())
             if one.since_version <= version]  # fmt: skip
    if not known:
        return None
    schema = max(known, key=lambda one: int(one.since_version))
    return Signature(
        tuple(one.typeStr for one in schema.inputs),
        tuple(one.typeStr for one in schema.outputs),
        {one.type_param_str: frozenset(one.allowed_type_strs) for one in schema.type_constraints},
        frozenset(schema.attributes),
    )


@cache
def _runtime_schemas() -> dict[tuple[str, str], list[Any]]:
    """ONNX Runtime's own operators, by domain and name."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    found: dict[tuple[str, str], list[Any]] = {}
    for schema in get_all_operator_schema():
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return found
