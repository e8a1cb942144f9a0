"""IR version and opsets of an ONNX file, read without the onnx package and without its weights.

An ONNX file is one protobuf message, ``ModelProto``; of its fields only ``ir_version`` (1, a
varint) and ``opset_import`` (8, messages of ``domain`` (1) and ``version`` (2)) are read, and the
rest, the graph above all, is skipped by seeking.

Sources: onnx.proto in github.com/onnx/onnx; protobuf.dev, "Encoding".
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dlkit.errors import BundleError

_IR_VERSION, _OPSET_IMPORT = 1, 8  # fields of ModelProto
_DOMAIN, _VERSION = 1, 2  # fields of OperatorSetIdProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types
_LONGEST_VARINT = 10  # bytes of a 64-bit value, 7 bits each
_SHORT = 1 << 16  # bytes; an opset_import is some ten


@dataclass(frozen=True)
class OnnxHeader:
    """What a runtime must be able to read.

    Attributes:
        ir_version: version of the file format.
        opsets: version by domain; ``ai.onnx`` is the operators of ONNX itself.
    """

    ir_version: int
    opsets: dict[str, int]


def read_header(path: Path) -> OnnxHeader:
    """Read the header of an ONNX file.

    Raises:
        BundleError: it is no ONNX file.
    """
    ir_version, opsets = None, {}
    try:
        with path.open("rb") as file:
            for field, value in _fields(file, os.fstat(file.fileno()).st_size, {_OPSET_IMPORT}):
                if field == _IR_VERSION and isinstance(value, int):
                    ir_version = value
                elif field == _OPSET_IMPORT and isinstance(value, bytes):
                    content = io.BytesIO(value)
                    opset = dict(_fields(content, len(value), {_DOMAIN, _VERSION}))
                    domain, version = opset.get(_DOMAIN, b""), opset.get(_VERSION, 0)
                    if not isinstance(domain, bytes) or not isinstance(version, int):
                        raise ValueError("an opset_import is not what it should be")
                    opsets[domain.decode() or "ai.onnx"] = version
    except ValueError as error:
        raise BundleError(f"{path} is no ONNX file ({error}). Export it again") from error
    if ir_version is None or not opsets:
        raise BundleError(f"{path} is no ONNX file (no ir_version or opset). Export it again")
    return OnnxHeader(ir_version, opsets)


def _fields(file: BinaryIO, end: int, wanted: set[int]) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: whole numbers, and the bytes of those that are wanted."""
    while file.tell() < end:
        tag = _varint(file)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            yield field, _varint(file)
            continue
        if wire not in (_FIXED64, _BYTES, _FIXED32):
            raise ValueError(f"wire type {wire} at byte {file.tell() - 1}")
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire)
        if length is None:
            length = _varint(file)
        if file.tell() + length > end:
            raise ValueError("it ends in the middle of a field")
        if wire == _BYTES and field in wanted:
            if length > _SHORT:
                raise ValueError(f"field {field} has {length} bytes")
            yield field, file.read(length)
        else:
            file.seek(length, os.SEEK_CUR)


def _varint(file: BinaryIO) -> int:
    value = 0
    for position in range(_LONGEST_VARINT):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends in the middle of a number")
        value |= (byte[0] & 0x7F) << (7 * position)
        if byte[0] < 0x80:
            return value
    raise ValueError("a number is longer than 64 bits")
