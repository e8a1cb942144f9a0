"""Animated PNG files (PNG, third edition): frames as they are, in grey or colours, 8 or 16 bits."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import cv2

from dlkit.images.geometry import Image

_CHUNK = struct.Struct(">I4s")
_FRAME = struct.Struct(">IIIIIHHBB")  # number, size, place, two parts of a time, how it is laid on


def encoded(frames: Sequence[Image], milliseconds: int) -> bytes:
    """Frames of one size and kind; OpenCV would write colours with alpha of 8 bits.

    Raises:
        ValueError: they are not of one size, depth and number of channels.
        cv2.error: they cannot be encoded.
    """
    if len({(frame.shape, frame.dtype) for frame in frames}) > 1:
        raise ValueError
    height, width = frames[0].shape[:2]
    number = 0
    file = bytearray()
    for at, frame in enumerate(frames):
        done, data = cv2.imencode(".png", frame)
        if not done:
            raise ValueError
        png = data.tobytes()
        if at == 0:
            file += png[: 8 + 25]  # its signature and its header
            file += _chunk(b"acTL", struct.pack(">II", len(frames), 0))
        file += _chunk(b"fcTL", _FRAME.pack(number, width, height, 0, 0, milliseconds, 1000, 0, 0))
        number += 1
        for pixels in _pixels(png):
            if at == 0:
                file += _chunk(b"IDAT", pixels)
            else:
                file += _chunk(b"fdAT", struct.pack(">I", number) + pixels)
                number += 1
    return bytes(file + _chunk(b"IEND", b""))


def _pixels(png: bytes) -> list[bytes]:
    found = []
    at = 8
    while at < len(png):
        length, kind = _CHUNK.unpack_from(png, at)
        if kind == b"IDAT":
            found.append(png[at + 8 : at + 8 + length])
        at += 12 + length
    return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    return _CHUNK.pack(len(data), kind) + data + zlib.crc32(kind + data).to_bytes(4, "big")
