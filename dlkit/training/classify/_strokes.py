"""Lines over digits as MNIST-C draws them (arXiv 1906.02337): the shade falls with distance."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIZE = 28
_REACH = 2.3  # pixels above and below the line; MNIST-C's
# MNIST-C's zigzag runs between these columns.
_FIRST, _LAST = 2, 25


def segment(x0: Any, y0: Any, x1: Any, y1: Any) -> NDArray[np.float32]:
    """A straight line, x0 < x1, in the columns from x0 to x1.

    Args:
        x0, y0, x1, y1: numbers, or arrays (N,).

    Returns:
        (28, 28), or (N, 28, 28): 1 on the line, ``1 + log(1 - d / 2.3)`` at the height d above or
        below it, 0 where that is negative.
    """
    x0, y0, x1, y1 = (np.asarray(value, float)[..., None, None] for value in (x0, y0, x1, y1))
    column, row = np.arange(_SIZE)[None, :], np.arange(_SIZE)[:, None]
    height = np.abs(row - (y0 + (y1 - y0) / (x1 - x0) * (column - x0)))
    shade = 1 + np.log(1 - np.minimum(height, _REACH - 1e-10) / _REACH)
    inside = (column >= np.floor(x0)) & (column < np.ceil(x1))
    return np.where(inside, np.clip(shade, 0, 1), 0).astype(np.float32)


def dashed(starts: NDArray[Any], ends: NDArray[Any], dash: int) -> NDArray[np.float32]:
    """Lines from (0, start) to (27, end), every other ``dash`` columns left out: (N, 28, 28)."""
    lines = segment(np.zeros(len(starts)), starts, np.full(len(starts), _SIZE - 1), ends)
    return np.asarray(lines * (np.arange(_SIZE) // dash % 2 == 1), np.float32)


def zigzags(
    starts: NDArray[Any], rises: NDArray[Any], length: float, height: float
) -> NDArray[np.float32]:
    """Zigzag lines around straight ones from (2, start) to (25, start + rise): (N, 28, 28)."""
    found = [_zigzag(int(start), int(rise), length, height)
             for start, rise in zip(starts, rises, strict=True)]  # fmt: skip
    return np.stack(found)


@lru_cache(maxsize=1024)  # 27 starts, 10 rises
def _zigzag(start: int, rise: int, length: float, height: float) -> NDArray[np.float32]:
    angle = np.arctan(rise / (_LAST - _FIRST))
    whole = (_LAST - _FIRST) / np.cos(angle)
    corners = [(0.0, 0.0)]
    for index in range(int((whole - length) // (2 * length)) + 1):
        corners.append(((2 * index + 1) * length, (-1) ** index * height))
    rest = whole - 2 * length * (whole // (2 * length))
    if rest:
        corners.append((whole, corners[-1][1] / (2 * rest)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = turn @ np.array(corners).T + np.array([[_FIRST], [start]])
    return np.asarray(segment(x[:-1], y[:-1], x[1:], y[1:]).sum(axis=0).clip(0, 1), np.float32)
