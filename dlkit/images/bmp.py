"""BMP files of 32 bits that say where in a pixel their colours are (BITFIELDS)."""

from __future__ import annotations

import struct

import numpy as np

from dlkit.images.geometry import Image

_HEAD = struct.Struct("<14xIii2xHI")  # its size, width, height, bits of a pixel, how it is kept
_MASKS = struct.Struct(
    "<4I"
)  # red, green, blue, alpha: behind 40 bytes, or the end of a longer head
_MASKS_AT = 54
_BITFIELDS = 3
_WITH_ALPHA = 56  # bytes of a head that has a mask of alpha; of these OpenCV heeds the masks
_BYTES = {0xFF << shift: shift // 8 for shift in (0, 8, 16, 24)}


def is_bmp(data: bytes) -> bool:
    """Whether a file begins as they do."""
    return data.startswith(b"BM")


def as_meant(data: bytes, image: Image) -> Image:
    """An image of such a file, its channels as the masks say; OpenCV takes them as BGRA where the
    head is short, and gives an alpha where there is none.

    Raises:
        ValueError: a channel is no byte.
    """
    if len(data) < _MASKS_AT + _MASKS.size or image.ndim != 3 or image.shape[2] != 4:
        return image
    size, _, _, bits, kept = _HEAD.unpack_from(data)
    if bits != 32 or kept != _BITFIELDS:
        return image
    red, green, blue, alpha = _MASKS.unpack_from(data, _MASKS_AT)
    if size < _WITH_ALPHA:
        alpha = 0
    masks = (blue, green, red, alpha) if alpha else (blue, green, red)
    if not set(masks) <= set(_BYTES):
        raise ValueError("its channels are not of 8 bits each: save it as PNG")
    if size >= _WITH_ALPHA:
        return np.ascontiguousarray(image[:, :, : len(masks)])
    return np.ascontiguousarray(image[:, :, [_BYTES[mask] for mask in masks]])
