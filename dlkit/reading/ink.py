"""Pieces of ink: what is darker than the paper around it and hangs together."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

_PIXELS = 1_000_000  # an image is looked at with no more
_AROUND, _DEPTH = 61, 20.0  # pixels, whose mean is the paper's level; levels that ink is below it
_LOW, _WIDE, _TALL = 10, 2.2, 5.0  # pixels; heights; widths and some pixels: of no more is a digit
_MOST = 4000  # pieces: what has more is no page but noise


def pieces(grey: images.UInt8) -> NDArray[np.float32]:
    """Boxes around what may be digits by its size: float32 (N, 4), at most 4,000.

    Args:
        grey: uint8 (H, W), dark ink on bright paper or bright on dark.
    """
    scale = min(1.0, (_PIXELS / grey.size) ** 0.5)
    if scale < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    if np.median(grey) < 128:
        grey = cv2.bitwise_not(grey)  # type: ignore[assignment]
    ink = cv2.adaptiveThreshold(
        grey, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, _AROUND, _DEPTH
    )
    found = cv2.connectedComponentsWithStats(ink)[2][1:, :4]
    wide, tall = found[:, 2], found[:, 3]
    boxes = found[(tall >= _LOW) & (wide < _WIDE * tall) & (tall < _TALL * wide + _LOW)][:_MOST]
    left_top, sizes = boxes[:, :2] - 0.5, boxes[:, 2:] + 1  # half a pixel more on each side
    return np.asarray(np.hstack([left_top, sizes]) / scale, np.float32)
