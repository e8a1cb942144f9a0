"""A digit's strokes: the middle line of its ink, to be drawn anew with any pen."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.paper.page import Float, UInt8

_SCALE = 2  # MNIST's pixels are made smaller by this before thinning
_INK = 90  # of 255
# The eight neighbours, clockwise from the top, as bits.
_PLACES = ((0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0), (0, 0))
_KERNEL = np.zeros((3, 3), np.float32)
for _bit, _place in enumerate(_PLACES):
    _KERNEL[_place] = 1 << _bit


def _tables() -> tuple[UInt8, UInt8]:
    """For each code of neighbours 1 where a pixel stays, in both halves of a round (Zhang and Suen,
    CACM 27, 1984)."""
    tables = []
    for first in (True, False):
        table = np.ones(256, np.uint8)
        for code in range(256):
            p = [code >> bit & 1 for bit in range(8)]  # p2 to p9 of the article
            changes = sum(not p[k] and p[(k + 1) % 8] for k in range(8))
            if first:
                sides = p[0] * p[2] * p[4] == 0 and p[2] * p[4] * p[6] == 0
            else:
                sides = p[0] * p[2] * p[6] == 0 and p[0] * p[4] * p[6] == 0
            if 2 <= sum(p) <= 6 and changes == 1 and sides:
                table[code] = 0
        tables.append(table)
    return tables[0], tables[1]


_TABLES = _tables()


class Strokes(NamedTuple):
    """Middle lines.

    Attributes:
        points: float32 (N, 2), x and y; MNIST's 20 pixels are 1.
        edges: int (M, 2), the points that are joined.
    """

    points: Float
    edges: NDArray[np.int64]


def strokes(image: UInt8) -> Strokes:
    """The middle lines of a digit of MNIST's, uint8 (28, 28), bright on black."""
    return _strokes(image.tobytes(), image.shape)


@lru_cache(maxsize=1 << 16)  # all of MNIST's: it takes longer than drawing them
def _strokes(data: bytes, shape: tuple[int, ...]) -> Strokes:
    image = np.frombuffer(data, np.uint8).reshape(shape)
    large = cv2.resize(image, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_CUBIC)
    skeleton = thin((np.asarray(large) > _INK).astype(np.uint8))
    ys, xs = np.nonzero(skeleton)
    count = len(ys)
    index = np.full(skeleton.shape, -1)
    index[ys, xs] = np.arange(count)
    edges = _edges(index)
    points = np.stack([xs, ys], axis=1).astype(np.float64)
    degree = np.bincount(edges.ravel(), minlength=count)
    for _ in range(3):  # a pen goes in curves, not from pixel to pixel
        sums = np.zeros_like(points)
        np.add.at(sums, edges[:, 0], points[edges[:, 1]])
        np.add.at(sums, edges[:, 1], points[edges[:, 0]])
        inner = degree >= 2
        points[inner] = 0.5 * points[inner] + 0.5 * sums[inner] / degree[inner, None]
    return Strokes((points / (20 * _SCALE)).astype(np.float32), edges)


def thin(mask: UInt8) -> UInt8:
    """A mask of 0 and 1 worn down to lines one pixel wide."""
    mask = np.pad(mask, 1)
    count = -1
    while count != (count := int(np.count_nonzero(mask))):
        for table in _TABLES:
            codes = cv2.filter2D(mask, -1, _KERNEL, borderType=cv2.BORDER_CONSTANT)
            mask = mask & np.asarray(cv2.LUT(codes, table), np.uint8)
    return mask[1:-1, 1:-1]


def _edges(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of neighbours; no diagonal where two straight steps lead there."""
    there = index >= 0
    found = []
    right = there[:, :-1] & there[:, 1:]
    down = there[:-1] & there[1:]
    found.append((index[:, :-1][right], index[:, 1:][right]))
    found.append((index[:-1][down], index[1:][down]))
    corner = there[:-1, :-1] & there[1:, 1:] & ~there[:-1, 1:] & ~there[1:, :-1]
    found.append((index[:-1, :-1][corner], index[1:, 1:][corner]))
    corner = there[:-1, 1:] & there[1:, :-1] & ~there[:-1, :-1] & ~there[1:, 1:]
    found.append((index[:-1, 1:][corner], index[1:, :-1][corner]))
    return np.concatenate([np.stack(pair, axis=1) for pair in found]).astype(np.int64)
