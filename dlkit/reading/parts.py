"""Areas of ink: which of them are one digit, and which are other signs beside it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Ends = tuple[int, int, int, int]  # left, top, right and bottom

SPECK = 0.04  # of the ink: what is smaller is dirt
_PART = 0.12  # of the ink: what is larger belongs to the digit, or is another one
_MOST = 0.75  # of the ink: one digit has so much of it in its parts
_APART = 0.08  # of its height: parts that lie farther below each other are several digits
# Of the ink: a point, comma or minus beside a digit has so much; and so much of its height at most.
_POINT, _SIGN, _LOW = 0.01, 0.4, 0.45
_Areas = NDArray[np.int32]  # (N, 5), rows of OpenCV's statistics


def one_digit(mask: NDArray[np.uint8], whatever: bool = False) -> tuple[Ends, list[Ends]] | None:
    """The one digit; and, where something stands beside it as points, commas and a minus do, the
    digit without that, and each such area.

    Args:
        mask: uint8 (H, W), above 0 where there is ink.
        whatever: take what there is for a digit.

    Returns:
        None where there is no ink, or that of several digits.
    """
    count, _ = cv2.connectedComponents(mask)
    if count < 2:
        return None
    if count == 2:  # nearly always; all that is wanted else takes three times as long
        x, y, width, height = cv2.boundingRect(mask)
        return (x, y, x + width, y + height), []
    parts = np.asarray(cv2.connectedComponentsWithStats(mask)[2][1:], np.int32)
    areas = parts[:, cv2.CC_STAT_AREA]
    total = int(areas.sum())
    whole = parts[areas >= SPECK * total] if (areas >= SPECK * total).any() else parts
    if whatever:
        return _around(whole), []
    beside = _beside(parts, total)
    if not _together(parts[(areas >= _PART * total) & ~beside], total):
        return None
    if not beside.any():
        return _around(whole), []
    own = parts[(areas >= SPECK * total) & ~beside]
    return _around(whole), [_around(own), *(_around(one[None]) for one in parts[beside])]


def at_border(ends: Ends, shape: tuple[int, ...]) -> bool:
    """Whether an area reaches the border of an image (H, W)."""
    return min(ends[:2]) == 0 or ends[2] == shape[1] or ends[3] == shape[0]


def _around(parts: _Areas) -> Ends:
    x0, y0 = parts[:, 0].min(), parts[:, 1].min()
    x1, y1 = (parts[:, 0] + parts[:, 2]).max(), (parts[:, 1] + parts[:, 3]).max()
    return int(x0), int(y0), int(x1), int(y1)


def _beside(parts: _Areas, total: int) -> NDArray[np.bool_]:
    """Which small areas are left or right of the largest one, or below it."""
    areas = parts[:, cv2.CC_STAT_AREA]
    left, top, right, bottom = _around(parts[[areas.argmax()]])
    apart = (parts[:, 0] + parts[:, 2] <= left) | (parts[:, 0] >= right) | (parts[:, 1] >= bottom)
    small = (areas < _SIGN * total) & (parts[:, 3] < _LOW * (bottom - top))
    return np.asarray(apart & small & (areas >= _POINT * total), bool)


def _together(large: _Areas, total: int) -> bool:
    """Whether up to three large areas are one digit, and nearly all of the ink: not digits side by
    side, nor below each other, nor a page of small ones, nor a box around a digit."""
    left, top, width, height, areas = large.T
    if not 0 < len(large) <= 3 or areas.sum() < _MOST * total:
        return False
    main = areas.argmax()
    if (_hold(large[main], large) | _hold(large, large[main])).any():
        return False
    shared = np.minimum(left + width, (left + width)[main]) - np.maximum(left, left[main])
    if (shared < 0.4 * np.minimum(width, width[main])).any():
        return False
    order = top.argsort()
    above = np.maximum.accumulate((top + height)[order])
    return bool((top[order][1:] - above[:-1] <= _APART * (above[-1] - top.min())).all())


def _hold(one: _Areas, other: _Areas) -> NDArray[np.bool_]:
    """Whether one area's box has that of another inside of it, on all sides."""
    (left, top, width, height), (x, y, across, down) = one.T[:4], other.T[:4]
    inside = (x > left) & (y > top) & (x + across < left + width) & (y + down < top + height)
    return np.asarray(inside, bool)
