"""A sign with what is around it, as the reader takes it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

SIDE = 32  # pixels of a crop
LABELS = (*map(str, range(10)), ".", ",", "-", "?", "none")
OTHER, NONE = "?", "none"  # a sign of another kind; no sign, or not one
_ROOM = 1.5  # sides of a sign: how much of its surroundings is seen
_LINE = 0.85  # of the height of the line's digits: a small sign is seen as small
_LARGEST = 1024  # pixels of the surroundings' side
_LEAST_RANGE = 24  # of 255 levels: below it there is little but noise


def crop(
    grey: images.UInt8, box: tuple[float, float, float, float], line: float = 0.0
) -> images.UInt8:
    """The surroundings of a sign, square, with levels from 0 to 255.

    Args:
        grey: uint8 (H, W), the image.
        box: left, top, width and height of the sign in its pixels.
        line: height of the digits beside it; 0 where that is not known.

    Returns:
        uint8 (32, 32).
    """
    left, top, width, height = box
    side = max(2.0, _ROOM * max(width, height, _LINE * line))
    x, y = left + width / 2 - side / 2, top + height / 2 - side / 2
    ends = np.round([x, y, x + side, y + side]).astype(int)
    rows, columns = grey.shape
    x0, y0, x1, y1 = (max(ends[0], 0), max(ends[1], 0), min(ends[2], columns), min(ends[3], rows))
    part = grey[y0:y1, x0:x1]
    if not part.size:
        return np.zeros((SIDE, SIDE), np.uint8)
    beyond = np.array([x0 - ends[0], y0 - ends[1], ends[2] - x1, ends[3] - y1])
    if side > _LARGEST:  # shrunk before it is padded: it may be far larger than the image
        scale = _LARGEST / side
        less = [max(1, round(length * scale)) for length in part.shape[::-1]]
        part = np.asarray(cv2.resize(part, less, interpolation=cv2.INTER_AREA), np.uint8)
        beyond = np.round(beyond * scale).astype(int)
    if beyond.any():
        before, above, after, below = beyond.tolist()
        part = np.asarray(cv2.copyMakeBorder(
            part, above, below, before, after, cv2.BORDER_CONSTANT, value=float(np.median(part)),
        ), np.uint8)  # fmt: skip
    how = cv2.INTER_AREA if part.shape[0] > SIDE else cv2.INTER_LINEAR
    return stretched(np.asarray(cv2.resize(part, (SIDE, SIDE), interpolation=how), np.uint8))


def stretched(pixels: images.UInt8) -> images.UInt8:
    """Levels from 0 to 255, whatever the light."""
    low, high = int(pixels.min()), int(pixels.max())
    extent = max(high - low, _LEAST_RANGE)
    return cv2.convertScaleAbs(pixels, alpha=255 / extent, beta=-low * 255 / extent)  # type: ignore[return-value]


def line_heights(boxes: NDArray[np.float32], digit: NDArray[np.bool_]) -> NDArray[np.float32]:
    """For each box (N, 4) the height of the digits beside it, itself among them: their median."""
    heights = np.maximum(boxes[:, 3], 0.6 * boxes[:, 2])
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    found = np.zeros(len(boxes), np.float32)
    for place in range(len(boxes)):
        away = np.abs(middle - middle[place])
        near = digit & (away[:, 1] < 0.9 * heights) & (away[:, 0] < 5 * heights)
        if near.any():
            found[place] = np.median(heights[near])
    return found
