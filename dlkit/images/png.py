"""PNG files (third edition): whether they are whole, and what OpenCV would leave out of them."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from dlkit.errors import InputError
from dlkit.images.geometry import Image, check_size

_SIGNATURE = b"\x89PNG"
# 5.2 and 5.3: eight bytes, then chunks of length, type, data and a sum of type and data; the first
# one is IHDR, which begins with width and height, the last one IEND.
_CHUNK = struct.Struct(">I4s")
_KINDS = {b"IHDR", b"PLTE", b"IDAT"}  # what decoding needs, beside IEND
_SIZE = struct.Struct(">II")
_DEPTH, _COLOURS = 24, 25  # where IHDR says them
_GREY = 0
Chunks = dict[bytes, int]  # where the last one of each kind begins


def is_png(data: bytes) -> bool:
    """Whether a file begins as they do."""
    return data.startswith(_SIGNATURE)


def chunks(data: bytes, path: object) -> Chunks:
    """The chunks that hold something; a file that is cut or damaged is refused.

    OpenCV makes room for what a chunk says it holds, up to 4 GiB, before it looks for it; and
    libpng writes a line of its own onto the terminal.

    Raises:
        InputError: it is cut, damaged, or too large.
    """
    view, at, size, found = memoryview(data), 8, len(data), Chunks()
    while at + 12 <= size:
        length, kind = _CHUNK.unpack_from(data, at)
        end = at + 12 + length
        if end > size:
            break
        # what decoding needs has a capital; libpng passes over the others where they are damaged,
        # but among frames OpenCV ends the process then (its issue 27744)
        if (not kind[0] & 0x20 or kind == b"acTL" or b"acTL" in found) and data[
            end - 4 : end
        ] != zlib.crc32(view[at + 4 : end - 4]).to_bytes(4, "big"):
            raise InputError(f"{path}: is damaged (a part does not fit its sum)")
        if at == 8:
            if kind != b"IHDR" or length != 13:
                raise InputError(f"{path}: is damaged (a PNG without its header)")
            width, height = _SIZE.unpack_from(data, 16)
            check_size(width, height, path)
        if kind == b"IEND":
            if b"IDAT" in found:
                return found
            raise InputError(f"{path}: is damaged (a PNG without pixels)")
        if kind not in _KINDS and kind[0] & 0x20 == 0:
            raise InputError(f"{path}: is damaged (a PNG with a part of an unknown kind)")
        if length:
            found[kind] = at
        at = end
    raise InputError(f"{path}: is truncated (a PNG without its end)")


def exif(data: bytes, found: Chunks) -> bytes:
    """Its EXIF block, which OpenCV does not give of animations; empty where there is none."""
    return _content(data, found, b"eXIf")


def with_alpha(data: bytes, found: Chunks, frames: list[Image]) -> list[Image]:
    """Grey with the level that stands for nothing as BGRA; OpenCV leaves that out.

    Raises:
        ValueError: frames are laid on each other, and nobody knows where they show nothing.
    """
    level = _content(data, found, b"tRNS")
    if len(level) != 2 or data[_COLOURS] != _GREY:
        return frames
    if b"acTL" in found:
        raise ValueError("it is animated, in grey with a level that stands for nothing")
    depth = data[_DEPTH]
    value = int.from_bytes(level, "big") & ((1 << depth) - 1)
    if depth < 8:  # OpenCV gives them in the whole range
        value = value * 255 // ((1 << depth) - 1)
    return [
        np.dstack([one] * 3 + [np.where(one == value, 0, np.iinfo(one.dtype).max)]).astype(
            one.dtype
        )
        for one in frames
    ]


def _content(data: bytes, found: Chunks, kind: bytes) -> bytes:
    at = found.get(kind)
    if at is None:
        return b""
    length, _ = _CHUNK.unpack_from(data, at)
    return data[at + 8 : at + 8 + length]
