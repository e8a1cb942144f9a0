"""Pictures side by side, as one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.images import UInt8

_GAP = 2  # pixels
_GREY = 96


def grid(pictures: NDArray[Any], columns: int | None = None) -> UInt8:
    """Pictures in rows, left to right, top to bottom.

    Args:
        pictures: uint8 (N, H, W) or (N, H, W, 3).
        columns: as many as make it about square by default.

    Returns:
        uint8 (h, w) or (h, w, 3).
    """
    count, height, width = pictures.shape[:3]
    columns = columns or math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    deep, wide = height + _GAP, width + _GAP
    shape = (rows * deep + _GAP, columns * wide + _GAP, *pictures.shape[3:])
    whole = np.full(shape, _GREY, np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        top, left = row * deep + _GAP, column * wide + _GAP
        whole[top : top + height, left : left + width] = picture
    return whole
