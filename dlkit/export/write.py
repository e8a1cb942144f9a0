"""A graph as the bytes of an ONNX file, and those of its weights where they are too many for it."""

from __future__ import annotations

import onnx
import onnx.external_data_helper
import onnx_ir as ir

from dlkit.bundle.own import WEIGHTS
from dlkit.graph.read import is_one_message

_SMALL = 1024  # bytes of a tensor that stays in the graph in any case
_PAGE = 4096  # beginnings that can be mapped


def serialised(model: ir.Model | onnx.ModelProto) -> tuple[bytes, bytes]:
    """The graph and its weights, which are empty where the graph holds them.

    Weights that lie beside the graph are to be written to ``model.onnx.data``.
    """
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    if is_one_message(proto):
        return bytes(proto.SerializeToString()), b""
    if proto is model:  # it stays as it is
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
    parts: list[bytes] = []
    end = 0
    for tensor in onnx.external_data_helper._get_all_tensors(proto):
        if len(tensor.raw_data) <= _SMALL:
            continue
        gap = -end % _PAGE
        parts += [b"\0" * gap, tensor.raw_data]
        begin, end = end + gap, end + gap + len(tensor.raw_data)
        onnx.external_data_helper.set_external_data(
            tensor, WEIGHTS, offset=begin, length=len(tensor.raw_data)
        )
        tensor.ClearField("raw_data")
    return bytes(proto.SerializeToString()), b"".join(parts)
