"""The angle of the lines on a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.reading.components import Piece, Strokes

Matrix = NDArray[np.float64]

_MOST = 15.0  # degrees either way
_FEWEST = 4  # pieces: fewer have no line that could be trusted
_POINTS = 40_000  # of ink that are looked at
_ROWS = 6  # bins over the height of a digit


def angle(strokes: Strokes, pieces: Sequence[Piece]) -> float:
    """By how many degrees the lines fall to the right, -15 to 15; 0 where there are no lines.

    The angle at which the ink, projected along the lines, is gathered most: the sum of squares of
    its profile (W. Postl, Detection of linear oblique structures and skew scan in digitized
    documents, ICPR 1986).
    """
    if len(pieces) < _FEWEST:
        return 0.0
    wanted = np.zeros(len(strokes.levels), bool)
    wanted[[label for piece in pieces for label in piece.labels]] = True
    y, x = np.nonzero(wanted[strokes.labels])
    step = 1 + len(y) // _POINTS
    y, x = y[::step].astype(np.float64), x[::step].astype(np.float64)
    bins = _ROWS / float(np.median([piece.box.height for piece in pieces]))

    def gathered(degrees: float) -> float:
        turned = y * math.cos(math.radians(degrees)) - x * math.sin(math.radians(degrees))
        rows = ((turned - turned.min()) * bins).astype(np.int64)
        return float((np.bincount(rows).astype(np.float64) ** 2).sum())

    best = max(np.arange(-_MOST, _MOST + 0.1, 0.5), key=gathered)
    return float(max(np.arange(best - 0.5, best + 0.51, 0.1), key=gathered))


def level(ink: NDArray[np.float32], degrees: float) -> tuple[NDArray[np.float32], Matrix]:
    """Ink turned so that lines at that angle are level, whole; and the (2, 3) map that did it."""
    height, width = ink.shape
    matrix = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0), np.float64)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    sides = (math.ceil(width * cos + height * sin), math.ceil(width * sin + height * cos))
    matrix[:, 2] += (sides[0] - width) / 2, (sides[1] - height) / 2
    turned = cv2.warpAffine(ink, matrix, sides, flags=cv2.INTER_CUBIC)
    return np.asarray(turned, np.float32), matrix
