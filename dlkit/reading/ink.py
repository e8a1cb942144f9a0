"""Pieces of ink: what is darker than the paper around it and hangs together."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

_PIXELS = 1_000_000  # an image is looked at with no more
_AROUND, _DEPTH = 61, 20.0  # pixels, whose mean is the paper's level; levels that ink is below it
_LOW, _WIDE, _TALL = 10, 2.2, 5.0  # pixels; heights; widths and some pixels: of no more is a digit
_MOST = 4000  # pieces: what has more is no page but noise


class Pieces(NamedTuple):
    """Pieces of ink.

    Attributes:
        boxes: float32 (N, 4), left, top, width and height in the image's pixels.
        filled: float32 (N,), how much of its box each fills, 0 to 1.
        like_digits: bool (N,), whether each may be a digit by its size.
    """

    boxes: NDArray[np.float32]
    filled: NDArray[np.float32]
    like_digits: NDArray[np.bool_]


def pieces(grey: images.UInt8) -> Pieces:
    """What is not too low to be a digit or a letter: at most 4,000 of each kind.

    Args:
        grey: uint8 (H, W), dark ink on bright paper or bright on dark.
    """
    scale = min(1.0, (_PIXELS / grey.size) ** 0.5)
    if scale < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    ink = cv2.adaptiveThreshold(
        on_bright(grey), 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, _AROUND, _DEPTH
    )
    found = cv2.connectedComponentsWithStats(ink)[2][1:]
    wide, tall = found[:, cv2.CC_STAT_WIDTH], found[:, cv2.CC_STAT_HEIGHT]
    high = tall >= _LOW
    like = high & (wide < _WIDE * tall) & (tall < _TALL * wide + _LOW)
    kinds = found[like][:_MOST], found[high & ~like][:_MOST]
    found = np.vstack(kinds)
    boxes, sizes = found[:, :4], found[:, 2:4]
    left_top, sides = boxes[:, :2] - 0.5, sizes + 1  # half a pixel more on each side
    return Pieces(
        np.asarray(np.hstack([left_top, sides]) / scale, np.float32),
        np.asarray(found[:, cv2.CC_STAT_AREA] / sizes.prod(axis=1), np.float32),
        np.arange(len(found)) < len(kinds[0]),
    )


def on_bright(grey: images.UInt8) -> images.UInt8:
    """An image whose ink is dark: inverted where most of it is dark."""
    mostly_dark = np.count_nonzero(grey < 128) > grey.size / 2  # a median takes sixty times as long
    return np.asarray(cv2.bitwise_not(grey) if mostly_dark else grey, np.uint8)
