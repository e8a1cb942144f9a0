"""Tensors behind a JSON head: the protocol's extension of binary tensors.

Source: Triton Inference Server, "Binary Tensor Data Extension".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.serving.datatypes import BYTES, DTYPES
from dlkit.serving.heads import read_json
from dlkit.serving.json_tensors import dump, head_of, read_inference, row_of, with_data
from dlkit.serving.messages import Answered, Inference, Tensor, Values, elements
from dlkit.serving.refused import invalid
from dlkit.spec import TensorSpec

_PREFIX = 4  # bytes before each element of BYTES: its length, little-endian
HEADER = "inference-header-content-length"


class Tail:
    """What lies behind the head, taken from its beginning."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def take(self, label: str, datatype: str, shape: tuple[int, ...], size: int) -> Values:
        """The next tensor.

        Raises:
            RefusedError: it is cut, or has another size than its shape.
        """
        if self._at + size > len(self._data):
            raise invalid(f"{label}: {size} bytes were said, {len(self._data) - self._at} came")
        part = self._data[self._at : self._at + size]
        self._at += size
        return read_tensor(label, datatype, shape, part)

    def end(self) -> None:
        """Refuse what nobody said anything of."""
        if self._at != len(self._data):
            raise invalid(f"{len(self._data) - self._at} bytes came more than the inputs say")


def read_tensor(label: str, datatype: str, shape: tuple[int, ...], part: memoryview) -> Values:
    """A tensor from its bytes.

    Raises:
        RefusedError: its size is not that of its shape, or an element is cut.
    """
    if datatype == BYTES:
        found = split_bytes(label, part, elements(shape))
        if len(found) != elements(shape):
            raise invalid(f"{label}: {len(found)} elements came, its shape says {elements(shape)}")
        return found
    dtype = DTYPES[datatype]
    if len(part) != elements(shape) * dtype.itemsize:
        raise invalid(
            f"{label}: {len(part)} bytes came, {datatype} of its shape are "
            f"{elements(shape) * dtype.itemsize}"
        )
    values: NDArray[Any] = np.frombuffer(part, dtype)
    if datatype == "BOOL":  # numpy would keep any byte, which graphs do not take
        values = values.view(np.uint8) != 0
    return values.reshape(shape)


def split_bytes(label: str, part: memoryview, most: int) -> list[bytes]:
    """The elements of a tensor of BYTES; at most one more than ``most``."""
    found: list[bytes] = []
    at = 0
    while at < len(part) and len(found) <= most:
        if at + _PREFIX > len(part):
            raise invalid(f"{label}: the length before an element is cut")
        size = int.from_bytes(part[at : at + _PREFIX], "little")
        at += _PREFIX
        if at + size > len(part):
            raise invalid(f"{label}: an element is cut")
        found.append(bytes(part[at : at + size]))
        at += size
    return found


def join_bytes(elements_: list[bytes]) -> bytes:
    """Elements of BYTES as they are sent."""
    parts = [part for one in elements_ for part in (len(one).to_bytes(_PREFIX, "little"), one)]
    return b"".join(parts)


def raw_values(tensor: Tensor) -> bytes:
    """A tensor's values as they are sent."""
    if isinstance(tensor.values, list):
        return join_bytes(tensor.values)
    dtype = DTYPES[tensor.datatype]
    return np.ascontiguousarray(tensor.values, dtype).tobytes()


def read_body(
    header: str | None, body: bytes | bytearray, inputs: tuple[TensorSpec, ...], most_tensors: int
) -> Inference:
    """A request from its body.

    Args:
        header: of the name ``HEADER``; None where there is none: then all is JSON.
        inputs: of the model, for a body that is one tensor and nothing else (header 0).

    Raises:
        RefusedError: it does not fit.
    """
    view = memoryview(body)
    length = len(view) if header is None else _length(header, len(view))
    if header is not None and length == 0:
        return _raw(view, inputs)
    head = read_json(view[:length])
    tail = Tail(view[length:])
    found = read_inference(head, tail.take, most_tensors)
    tail.end()
    return found


def _length(header: str, size: int) -> int:
    # int() would take signs, spaces and underscores
    if not (header.isascii() and header.isdecimal() and len(header) < 20):
        raise invalid("Inference-Header-Content-Length is no whole number from 0")
    if int(header) > size:
        raise invalid(
            f"Inference-Header-Content-Length is {int(header)}, the body has {size} bytes"
        )
    return int(header)


def _raw(view: memoryview, inputs: tuple[TensorSpec, ...]) -> Inference:
    """A body that is the one input of a model with a batch of 1; all outputs come binary."""
    from dlkit.serving.datatypes import datatype_of

    if len(inputs) != 1:
        raise invalid(f"a raw body is one input, and the model has {len(inputs)}")
    (one,) = inputs
    datatype = datatype_of(one.dtype)
    shape: list[int] = [axis if isinstance(axis, int) else -1 for axis in one.shape]
    if shape and shape[0] == -1:
        shape[0] = 1
    if shape.count(-1) > 1:
        raise invalid("a raw body may leave one size of its shape free", "Send a JSON head")
    known = elements([axis for axis in shape if axis != -1]) * DTYPES[datatype].itemsize
    if -1 in shape:
        if not len(view) or len(view) % max(known, 1):
            raise invalid(f"{len(view)} bytes came, expected a multiple of {known}")
        shape[shape.index(-1)] = len(view) // known
    values = read_tensor(f"input {one.name!r}", datatype, tuple(shape), view)
    return Inference([Tensor(one.name, datatype, tuple(shape), values)], binary=True)


def write_body(answered: Answered, inference: Inference) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its head; None where all of it is JSON.

    Raises:
        RefusedError: JSON was asked for, which cannot hold the values.
    """
    asked = {one.name: one.binary for one in inference.outputs}
    rows: list[dict[str, Any]] = []
    parts: list[bytes] = []
    for tensor in answered.outputs:
        binary = asked.get(tensor.name)
        if binary if binary is not None else inference.binary:
            parts.append(raw_values(tensor))
            rows.append({**row_of(tensor), "parameters": {"binary_data_size": len(parts[-1])}})
        else:
            rows.append(with_data(tensor))
    head = dump({**head_of(answered, inference.id), "outputs": rows})
    return (b"".join([head, *parts]), len(head)) if parts else (head, None)
