"""A sign with what is around it, as the reader takes it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

SIDE, VIEWS = 32, 3  # pixels of a view, views of a sign
LABELS = (*map(str, range(10)), ".", ",", "-", "?", "none")
OTHER, NONE = "?", "none"  # a sign of another kind; no sign, or not one
_ROOM = 1.4  # sides of a sign: how much of its surroundings the first view has
_LINE = 0.85  # of the height of the line's digits: a small sign is seen as small
# The second view, in heights of the line's digits: whether a stroke is higher than they are, or
# stands lower. It has the whole of a sign, however large. The third one shows what it is part of.
_BESIDE, _WHOLE, _AROUND = 2.75, 1.6, 2.0
# Pixels: a larger part of an image is first halved, as long as it stays so large
_SHRUNK = 2 * SIDE
_LEAST_RANGE = 24  # of 255 levels: below it there is little but noise


class Scales:
    """An image, uint8 (H, W), and a half of it, a quarter and so on, made when they are needed:
    what is around a sign may be as large as the image."""

    def __init__(self, grey: images.UInt8) -> None:
        self._made = [grey]

    def view(self, x: float, y: float, side: float) -> images.UInt8:
        """A square about a point, which may reach beyond the image: uint8 (32, 32)."""
        halvings = max(0, int(np.log2(side / _SHRUNK)))
        while len(self._made) <= halvings:
            self._made.append(half(self._made[-1]))
        times = 0.5**halvings
        return _view(self._made[halvings], x * times, y * times, side * times)


def half(image: images.Image) -> images.Image:
    """An image of half the height and width: the quickest way to make one smaller."""
    rows, columns = (max(1, length // 2) for length in image.shape[:2])
    even = image[: 2 * rows, : 2 * columns]
    return np.asarray(cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA), image.dtype)


def crop(scales: Scales, box: tuple[float, float, float, float], line: float = 0.0) -> images.UInt8:
    """Three views of a sign and its surroundings, square, each with levels from 0 to 255.

    Args:
        scales: of the image.
        box: left, top, width and height of the sign in its pixels.
        line: height of the digits beside it; 0 where that is not known.

    Returns:
        uint8 (32, 32, 3): the sign, the signs beside it, and twice as much as those.
    """
    left, top, width, height = box
    size = max(width, height)
    near = max(2.0, _ROOM * max(size, _LINE * line))
    beside = max(near, _BESIDE * (line or size), _WHOLE * size)
    x, y = left + width / 2, top + height / 2
    views = [scales.view(x, y, side) for side in (near, beside, _AROUND * beside)]
    return np.asarray(cv2.merge(views), np.uint8)


def looks(
    scales: Scales,
    boxes: NDArray[np.float32],
    lines: NDArray[np.float32],
    times: float = 1.0,
) -> images.UInt8:
    """``crop`` of signs (N, 4) as if they, and their lines (N,), were so many times as large."""
    middles, sizes = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:] * times
    grown = np.hstack([middles - sizes / 2, sizes])
    return np.stack([
        crop(scales, tuple(box), line)
        for box, line in zip(grown.tolist(), (lines * times).tolist(), strict=True)
    ])  # fmt: skip


def _view(image: images.UInt8, x: float, y: float, side: float) -> images.UInt8:
    ends = [round(end) for end in (x - side / 2, y - side / 2, x + side / 2, y + side / 2)]
    rows, columns = image.shape
    x0, y0, x1, y1 = max(ends[0], 0), max(ends[1], 0), min(ends[2], columns), min(ends[3], rows)
    part = image[y0:y1, x0:x1]
    if not part.size:
        return np.zeros((SIDE, SIDE), np.uint8)
    beyond = [x0 - ends[0], y0 - ends[1], ends[2] - x1, ends[3] - y1]
    if any(beyond):
        before, above, after, below = beyond
        part = np.asarray(cv2.copyMakeBorder(
            part, above, below, before, after, cv2.BORDER_CONSTANT, value=_median(part),
        ), np.uint8)  # fmt: skip
    how = cv2.INTER_AREA if part.shape[0] > SIDE else cv2.INTER_LINEAR
    return stretched(np.asarray(cv2.resize(part, (SIDE, SIDE), interpolation=how), np.uint8))


def _median(pixels: images.UInt8) -> int:
    """The level in the middle: by counting them, which takes a tenth of the time of sorting."""
    sums = cv2.calcHist([pixels], [0], None, [256], [0, 256]).ravel().cumsum()
    return int(np.searchsorted(sums, pixels.size / 2))


def stretched(pixels: images.UInt8) -> images.UInt8:
    """Levels from 0 to 255, whatever the light."""
    low, high = cv2.minMaxLoc(pixels)[:2]
    extent = max(high - low, _LEAST_RANGE)
    return cv2.convertScaleAbs(pixels, alpha=255 / extent, beta=-low * 255 / extent)  # type: ignore[return-value]


def line_heights(boxes: NDArray[np.float32], digit: NDArray[np.bool_]) -> NDArray[np.float32]:
    """For each box (N, 4) the height of the digits beside it, itself among them: their median."""
    heights = np.maximum(boxes[:, 3], 0.6 * boxes[:, 2])
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    rising = np.argsort(heights)
    rising = rising[digit[rising]]
    x, y, sizes = middle[rising, 0], middle[rising, 1], heights[rising]
    found = np.zeros(len(boxes), np.float32)
    for place, (across, down) in enumerate(middle):
        near = sizes[(abs(y - down) < 0.9 * sizes) & (abs(x - across) < 5 * sizes)]
        if len(near):  # they rise, so that their median is in the middle
            found[place] = (near[(len(near) - 1) // 2] + near[len(near) // 2]) / 2
    return found
