"""The newest ONNX that the installed ONNX Runtime reads, asked of the runtime itself.

A table by release would be wrong for the next release. Two empty models, one of a far too new IR
version and one of a far too new opset, make it say what it reads, in the error's text.
"""

from __future__ import annotations

import re
from types import ModuleType

from dlkit.runtime.doctor.report import Finding, OnnxLimits

# ModelProto by hand (see onnx_header.py): ir_version, an empty graph named g, one opset_import.
_GRAPH = b"\x3a\x03\x12\x01g"
_TOO_NEW = b"\x8f\x4e"  # the varint 9999
_NEW_IR = b"\x08" + _TOO_NEW + _GRAPH + b"\x42\x02\x10\x0d"  # opset 13
_NEW_OPSET = b"\x08\x08" + _GRAPH + b"\x42\x03\x10" + _TOO_NEW  # IR version 8
_FATAL_ONLY = 4  # ONNX Runtime's logging severity


def look(onnxruntime: ModuleType, findings: list[Finding]) -> OnnxLimits:
    """What the runtime reads; a limit that it does not state is None and noted."""
    limits = OnnxLimits(
        ir_version=_ask(onnxruntime, _NEW_IR, r"max supported IR version: (\d+)"),
        opset=_ask(onnxruntime, _NEW_OPSET, r"support for domain ai\.onnx is till opset (\d+)"),
    )
    if limits.ir_version is None or limits.opset is None:
        findings.append(
            Finding(
                "onnxruntime",
                "it does not say which opset or IR version is the newest that it reads",
                "the table under 'what runs' says whether it reads your bundles",
                problem=False,
            )
        )
    return limits


def _ask(onnxruntime: ModuleType, model: bytes, pattern: str) -> int | None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    try:
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        found = re.search(pattern, str(error))
        return int(found.group(1)) if found else None
    return None
