"""Gaps between limbs and trunk: dark regions that look like objects, and are background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.tasks.detect.decode import Float

_WIDE = 40  # pixels: wider ones than this are no gaps, unless body lies all around them
_LEAST = 150  # pixels


def gaps_of(body: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Which gap each pixel is in: int32 (H, W), 0 in none."""
    solid = body.astype(np.uint8)
    edge = _WIDE
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_WIDE + 1, _WIDE + 1))
    closed = cv2.morphologyEx(np.pad(solid, edge), cv2.MORPH_CLOSE, disc)[edge:-edge, edge:-edge]
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(solid), contours, -1, (1,), cv2.FILLED)
    gap = ((filled > 0) & (solid == 0)).astype(np.uint8)
    gap = cv2.morphologyEx(gap, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(gap)
    large = statistics[:, cv2.CC_STAT_AREA] >= _LEAST
    large[0] = False
    numbers: NDArray[np.int32] = np.cumsum(large).astype(np.int32) * large
    return np.asarray(numbers[labels], np.int32)


def alarmed(wrong: Float, gaps: NDArray[np.int32]) -> int:
    """How many gaps have a false alarm, float32 (N, 5), with its middle or half of it in them."""
    found: set[int] = set()
    for left, top, width, height in wrong[:, :4].tolist():
        row = min(int(top + height / 2), gaps.shape[0] - 1)
        column = min(int(left + width / 2), gaps.shape[1] - 1)
        part = gaps[int(top) : int(top + height) + 1, int(left) : int(left + width) + 1]
        inside = part[part > 0]
        if gaps[row, column]:
            found.add(int(gaps[row, column]))
        elif len(inside) * 2 >= part.size:
            found.add(int(np.bincount(inside).argmax()))
    return len(found)
