"""Reading order: which signs stand in one line, and where a wide gap is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

_SHARED = 0.4  # of the smaller height: what stands in one line overlaps by more
_FOLLOW = 0.4  # by how much a line follows its last digit: lines may bend
_SPACE = 0.75  # of the height of a line: a wider gap separates numbers
_WIDE = 1.8  # of the usual gap: and is wider than this
_PITCH = 1.3  # of the usual step from middle to middle: and that is wider than this
_FAR = 6.0  # heights: digits further apart say nothing of the tilt
_MARK = (-0.75, 0.95)  # heights above and below the middle of the digits: signs of their line
_BLOCK = 64  # boxes that are compared with all others at once: dense pages have thousands
_NEAR = 3.5  # heights: from the middle of the next digit to the nearer end of a sign of its line


def tilt(boxes: Float) -> float:
    """Radians by which lines of boxes (N, 4) fall to the right: the median over neighbours."""
    middles = boxes[:, :2] + boxes[:, 2:4] / 2
    heights = np.maximum(boxes[:, 3], 0.6 * boxes[:, 2])
    angles: list[float] = []
    for first in range(0, len(boxes), _BLOCK):
        own = slice(first, first + _BLOCK)
        across, down = (middles[:, axis] - middles[own, axis, None] for axis in (0, 1))
        tall = heights[own, None]
        right = (across > 0.25 * tall) & (across < _FAR * tall)
        right &= np.abs(down) < 0.6 * np.maximum(heights, tall)
        rows = np.flatnonzero(right.any(axis=1))
        nearest = np.where(right, across, np.inf)[rows].argmin(axis=1)
        angles += np.arctan2(down[rows, nearest], across[rows, nearest]).tolist()
    return float(np.median(angles)) if len(angles) > 2 else 0.0


def level(boxes: Float, radians: float) -> Float:
    """Boxes (N, 4) on a page that is turned back by an angle: the same sizes about new middles."""
    if not radians:
        return boxes.copy()
    cos, sin = np.cos(radians), np.sin(radians)
    middles = boxes[:, :2] + boxes[:, 2:4] / 2
    turned = middles @ np.array([[cos, -sin], [sin, cos]])
    return np.hstack([turned - boxes[:, 2:4] / 2, boxes[:, 2:4]]).astype(np.float32)


def lines(boxes: Float) -> list[list[int]]:
    """Places of digits (N, 4) on a level page by line, from the top; in a line from the left."""
    found: list[list[int]] = []
    spans: list[tuple[float, float]] = []  # where each line is: its middle and half of its height
    for place in np.argsort(boxes[:, 0] + boxes[:, 2] / 2, kind="stable").tolist():
        half = max(float(boxes[place, 3]), 0.6 * float(boxes[place, 2])) / 2
        middle = float(boxes[place, 1] + boxes[place, 3] / 2)
        best, most = -1, _SHARED
        for index, (at, tall) in enumerate(spans):
            shared = min(middle + half, at + tall) - max(middle - half, at - tall)
            if (share := shared / (2 * min(half, tall))) > most:
                best, most = index, share
        if best < 0:
            found.append([place])
            spans.append((middle, half))
        else:
            found[best].append(place)
            at, tall = spans[best]
            spans[best] = (at + _FOLLOW * (middle - at), tall + _FOLLOW * (half - tall))
    middles = [np.median(boxes[line, 1] + boxes[line, 3] / 2) for line in found]
    return [found[index] for index in np.argsort(middles, kind="stable")]


def beside(mark: Float, digits: Float) -> tuple[int, float] | None:
    """The digit (N, 4) in whose line a sign (4,) stands, and how far it is in heights; None where
    it stands in none."""
    heights = np.maximum(digits[:, 3], 0.6 * digits[:, 2])
    steps = (mark[:2] + mark[2:4] / 2 - digits[:, :2] - digits[:, 2:4] / 2) / heights[:, None]
    across = np.maximum(np.abs(steps[:, 0]) - mark[2] / 2 / heights, 0)  # from its nearer end
    there = (steps[:, 1] > _MARK[0]) & (steps[:, 1] < _MARK[1]) & (across < _NEAR)
    if not there.any():
        return None
    far = np.where(there, np.hypot(across, steps[:, 1]), np.inf)
    return int(far.argmin()), float(far.min())


def spaces(boxes: Sequence[tuple[float, float]], height: float) -> list[bool]:
    """Whether a wide gap is before each sign of a line.

    Args:
        boxes: left and right edge of each.
        height: of the line's digits.
    """
    pairs = list(itertools.pairwise(boxes))
    gaps = [after[0] - before[1] for before, after in pairs]
    steps = [(after[0] + after[1] - before[0] - before[1]) / 2 for before, after in pairs]
    usual = float(np.median(gaps)) if len(gaps) > 2 else 0.0
    step = float(np.median(steps)) if len(steps) > 2 else 0.0
    wide = [
        gap > max(_SPACE * height, _WIDE * usual) and far > _PITCH * step
        for gap, far in zip(gaps, steps, strict=True)
    ]
    return [False, *wide][: len(boxes)]
