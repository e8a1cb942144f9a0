"""The IDX format, in which MNIST is distributed (yann.lecun.com/exdb/mnist), plain or gzipped."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dlkit.array_errors import DAMAGED, unreadable
from dlkit.errors import InputError

_UINT8 = 0x08  # the type code of unsigned bytes
_AGAIN = "Fetch it again: it is damaged"


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An array of unsigned bytes of any rank.

    Raises:
        InputError: missing, truncated, or no IDX file of unsigned bytes.
    """
    try:
        data = path.read_bytes()
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except DAMAGED as error:
        raise unreadable(path, error) from error
    file = io.BytesIO(data)
    shape = idx_shape(file, path)
    start = file.tell()
    if len(data) - start != math.prod(shape):
        raise InputError(
            f"{path}: holds {len(data) - start} bytes, its header promises "
            f"{'x'.join(map(str, shape))}",
            _AGAIN,
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def idx_shape(file: IO[bytes], path: Path) -> tuple[int, ...]:
    """The shape in the header of an open IDX file, which then stands at its first value.

    Raises:
        InputError: it is no IDX file of unsigned bytes.
    """
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] != _UINT8:
        raise InputError(
            f"{path}: is no IDX file of unsigned bytes", "Save it as unsigned bytes, uint8"
        )
    sizes = file.read(4 * head[3])
    if len(sizes) != 4 * head[3] or not head[3]:
        raise InputError(f"{path}: is truncated", _AGAIN)
    return tuple(np.frombuffer(sizes, ">u4").astype(int).tolist())


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write unsigned bytes; gzipped, without a date inside, when the name ends in .gz."""
    header = bytes([0, 0, _UINT8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)
