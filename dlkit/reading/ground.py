"""What a digit on plain ground is told from: pages, shadows, frames, and grounds of noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.reading.parts import SPECK, Ends, one_digit
from dlkit.reading.square import stroke_width

LOOK = 96  # pixels of the longer side at which an image is looked at
# A large image, which may be a page, is looked at so many times as large; of its side a stroke has
# so much where it is one digit.
_CLOSER, _BROAD = 4, 0.04
# Pixels there: narrower strokes are gone in a median of so many; of the range: by how much that
# changes them; and so many there may be.
_NARROW, _CHANGED, _MOST_NARROW = 9, 0.12, 5
# Of the range: pixels that differ by less from those around them are even; and how many are, at
# least, where there is no noise.
_NOISE, _EVEN = 0.0045, 0.25
_EMPTY = 0.1  # of the middle: less ink in it is none
_PAPER = 0.68  # of its box: what fills more, and has a loop, is what was written on
_THICK = 0.2  # of a digit's longer side: half of its strokes' width, at most


def is_one(grey: images.UInt8, level: float, dark: bool) -> bool:
    """Whether ink, dark or bright beyond a level, is one digit's when it is looked at closer: of
    broad strokes, which a page, a table or a drawing does not have; and there is no writing
    beside it, as there is beside the edge of a shadow."""
    scale = min(1.0, _CLOSER * LOOK / max(grey.shape))
    size = [max(1, round(side * scale)) for side in grey.shape[::-1]]
    finer = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    kind = cv2.THRESH_BINARY_INV if dark else cv2.THRESH_BINARY
    mask = np.asarray(cv2.threshold(finer, level, 1, kind)[1], np.uint8)
    if stroke_width(mask) <= _BROAD * max(size) or one_digit(mask) is None:
        return False
    low, high, _, _ = cv2.minMaxLoc(finer)
    changed = cv2.absdiff(finer, cv2.medianBlur(finer, _NARROW)) > _CHANGED * (high - low)
    return cv2.connectedComponents(changed.view(np.uint8))[0] - 1 <= _MOST_NARROW


def is_smooth(grey: images.UInt8) -> bool:
    """Whether there is no noise: what was drawn or enlarged, not photographed."""
    low, high, _, _ = cv2.minMaxLoc(grey)
    most = _NOISE * (high - low)
    even = cv2.inRange(cv2.Laplacian(grey, cv2.CV_16S, ksize=1), -most, most)
    return cv2.countNonZero(even) >= _EVEN * grey.size


def is_thick(ink: NDArray[np.float32], ends: Ends) -> bool:
    """Whether an area is no stroke."""
    mask = (ink > 0.5).view(np.uint8)
    half = float(cv2.distanceTransform(mask, cv2.DIST_L2, 3).max())
    return half > _THICK * max(ends[2] - ends[0], ends[3] - ends[1])


def in_corners(mask: images.UInt8, dark: bool) -> bool:
    """Whether ink, dark or bright, is in the corners of an image and not in its middle."""
    corners = [bool(mask[y, x]) for y in (0, -1) for x in (0, -1)]
    if corners.count(not dark) < 2:
        return False
    height, width = mask.shape
    middle = mask[height // 3 : -(height // 3) or None, width // 3 : -(width // 3) or None]
    bright = cv2.countNonZero(middle)
    return (middle.size - bright if dark else bright) < _EMPTY * middle.size


def is_paper(mask: images.UInt8, dark: bool) -> bool:
    """Whether what is dark, or bright, is the inside of a frame: it fills its box as no digit with
    a loop does, and something is written in it."""
    area = cv2.bitwise_not(mask) if dark else mask
    x, y, width, height = cv2.boundingRect(area)
    if cv2.countNonZero(area) <= _PAPER * width * height:
        return False
    inside = cv2.bitwise_not(area[y : y + height, x : x + width])
    parts = cv2.connectedComponentsWithStats(inside)[2][1:]
    left, top, across, down, size = parts.T
    within = (left > 0) & (top > 0) & (left + across < width) & (top + down < height)
    return bool((within & (size >= SPECK * (inside > 0).sum())).any())
