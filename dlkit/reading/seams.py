"""Where digits that touch may be cut: from top to bottom along little ink."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

_ROWS = 32  # rows in which a path is searched
_EVERY = 0.1  # of the height: between two places where a path is searched
_REACH = 0.13  # of the height: how far a path may go to the side
_ASIDE = 0.05  # what a step to the side costs, in full ink
_MARGIN = 0.1  # of the height: nothing narrower is cut off
_THICK = 0.5  # of the height: a cut through more ink is none


class Seam(NamedTuple):
    """A path from top to bottom.

    Attributes:
        at: int (H,), the first column on its right, by row.
        ink: how much ink it crosses, in heights.
    """

    at: NDArray[np.int64]
    ink: float


def seams(ink: Float) -> list[Seam]:
    """Paths of least ink by dynamic programming, one for each place, from the left.

    Args:
        ink: (H, W), 0 to 1, black around it.
    """
    height, width = ink.shape
    scale = _ROWS / height
    small = cv2.resize(ink, (max(1, round(width * scale)), _ROWS), interpolation=cv2.INTER_AREA)
    reach = max(1, round(_REACH * _ROWS))
    first, last = _MARGIN * _ROWS, small.shape[1] - _MARGIN * _ROWS
    count = int((last - first) / (_EVERY * _ROWS)) + 1
    if last <= first:
        return []
    middles = np.linspace(first, last, count + 2)[1:-1].round().astype(np.int64)
    columns = middles[:, None] + np.arange(-reach, reach + 1)
    bands = small[:, columns.clip(0, small.shape[1] - 1)]  # rows, places, columns of the band
    costs, steps = _descend(np.asarray(bands, np.float32))
    found: list[Seam] = []
    for place, end in enumerate(costs.argmin(axis=1).tolist()):
        path = np.empty(_ROWS)
        for row in range(_ROWS - 1, -1, -1):
            path[row] = columns[place, end]
            end += int(steps[row, place, end])
        crossed = float(small[np.arange(_ROWS), path.astype(int).clip(0, small.shape[1] - 1)].sum())
        rows = (np.arange(height) + 0.5) * scale - 0.5
        at = np.interp(rows, np.arange(_ROWS), path + 0.5) / scale
        seam = Seam(at.round().astype(np.int64), crossed / _ROWS)
        again = found and np.abs(seam.at - found[-1].at).mean() < 0.05 * height
        if crossed / _ROWS > _THICK or again:
            continue
        found.append(seam)
    return found


def between(ink: Float, left: Seam | None, right: Seam | None) -> tuple[Float, int]:
    """The ink between two cuts, or from one to an edge, the rest black; and its first column."""
    start = 0 if left is None else max(0, int(left.at.min()))
    stop = ink.shape[1] if right is None else int(right.at.max())
    part = ink[:, start:stop]
    columns = start + np.arange(part.shape[1])[None, :]
    keep = np.ones(part.shape, bool)
    if left is not None:
        keep &= columns >= left.at[:, None]
    if right is not None:
        keep &= columns < right.at[:, None]
    return part * keep, start


def _descend(bands: Float) -> tuple[Float, NDArray[np.int8]]:
    """The cost of the best path to each column of the last row, and each step's column before."""
    costs = bands[0].astype(np.float32)
    steps = np.zeros(bands.shape, np.int8)
    far = np.full((costs.shape[0], 1), np.inf, np.float32)
    for row in range(1, len(bands)):
        options = np.stack(
            [
                np.hstack([far, costs[:, :-1] + _ASIDE]),
                costs,
                np.hstack([costs[:, 1:] + _ASIDE, far]),
            ]
        )
        which = options.argmin(axis=0)
        steps[row] = which - 1
        costs = np.take_along_axis(options, which[None], axis=0)[0] + bands[row]
    return costs, steps
