"""A newer opset, where a precision needs one."""

from __future__ import annotations

import onnx
import onnx.version_converter
import onnx_ir as ir

from dlkit.errors import ExportError
from dlkit.graph.tidy import tidied

# The first opset in which half precision is not an experiment; with convolutions in bfloat16; with
# DequantizeLinear by channel.
NEEDED = {"fp32": 1, "fp16": 7, "bf16": 22, "int8": 13}
_IR = 8  # that all of today's backends read; the converter wants no weights among the inputs


def raised(model: ir.Model, least: int, why: str) -> ir.Model:
    """A tidied graph in an opset that is not older than ``least``, by ONNX's own converter.

    Args:
        why: what needs it, for messages.

    Raises:
        ExportError: ONNX cannot convert it; says why.
    """
    domain = "" if "" in model.graph.opset_imports else "ai.onnx"
    opset = model.graph.opset_imports.get(domain, 1)
    if opset < least:
        proto = ir.to_proto(model)
        proto.ir_version = max(proto.ir_version, _IR)
        try:
            proto = onnx.version_converter.convert_version(proto, least)
        except (RuntimeError, ValueError, IndexError) as error:
            line = str(error).strip().partition("\n")[0]
            raise ExportError(
                f"the graph has opset {opset}, {why} needs {least}, and ONNX cannot convert it: "
                f"{line}",
                f"Export it anew with opset {least} or later",
            ) from error
        model = tidied(ir.from_proto(proto))
    imports = [onnx.helper.make_opsetid(name, version)
               for name, version in model.graph.opset_imports.items()]  # fmt: skip
    needed = onnx.helper.find_min_ir_version_for(imports, ignore_unknown=True)
    model.ir_version = max(model.ir_version or 0, needed, _IR)
    return model
