"""One digit on plain ground, by its levels alone: crops, icons, drawings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.reading.page import Box
from dlkit.reading.square import EDGE, mnist

_LOOK = 96  # pixels of the longer side at which an image is looked at
_CUT = 160  # pixels of the longer side of a digit that is cut out
_CONTRAST = 24.0  # of 255: less between ink and ground is none
_ROUGH = 0.07  # of the contrast: how much the ground may vary
_CLEAN = 0.006  # of the contrast: ground that varies less was drawn or cut out, not photographed
_FEW = 24  # pixels of the longer side: smaller images are enlarged first
_TINY = 40  # pixels of the longer side: edges are all there is, and say nothing of the ground
_EMPTY = 0.1  # of the middle: less ink in it is none
_NEAR = 0.07  # of the image: how near to its border a digit ends that fills it
_SPECK = 0.04  # of the ink: what is smaller is dirt
_PART = 0.12  # of the ink: what is larger belongs to the digit, or is another one
_CROP = 256  # pixels of the longer side: what is larger is rather a photograph than a crop
_MOST_ALONG = 0.6  # of the border: more ink along it is none
_THICK = 0.2  # of a digit's longer side: half of its strokes' width, at most
_BAR, _FULL = 0.3, 0.55  # of its box: what fills more may be a stretched stroke,
_GAPS, _BENT, _UNEVEN = 0.05, 0.07, 0.4  # with gaps, bends and changes of width up to these
_SLIM, _NARROW = 0.75, 0.35  # of its width: how what may be stretched is read, and such a stroke


@dataclass(frozen=True)
class Found:
    """One digit on plain ground.

    Attributes:
        squares: uint8 (28, 28) each, bright on black: the digit; also as narrower ones where it
            fills the image, and may have been stretched to do so.
        box: around it in the image's pixels.
        share: of the image's height or width that it takes, whichever is more.
        broad: how many times as wide as high it is.
        clean: the ground is as even as nothing is that was photographed; or the digit is so large
            that the networks for paper see its loops as digits.
    """

    squares: tuple[images.UInt8, ...]
    box: Box
    share: float
    broad: float
    clean: bool


def plain(grey: images.UInt8, whatever: bool = False) -> Found | None:
    """The digit; None where the ground is not plain, or where there may be several.

    Args:
        grey: uint8 (H, W).
        whatever: take what there is for a digit, however the ground looks.
    """
    height, width = grey.shape
    scale = min(1.0, _LOOK / max(height, width))
    small = grey
    if max(height, width) < _FEW:
        scale = _LOOK / 2 / max(height, width)
    if scale > 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    level, mask = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    counts = np.bincount(small.ravel(), minlength=256)
    cut = int(level) + 1
    share = float(counts[:cut].sum()) / small.size
    if share in (0.0, 1.0):
        return None
    rough = whatever or max(grey.shape) <= _TINY
    bright = [cv2.countNonZero(line) for line in (mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1])]
    rim = 2 * (small.shape[0] + small.shape[1]) - 4 if min(small.shape) > 1 else small.size
    dark_rim = 1.0 - min(1.0, sum(bright) / max(rim, 1))
    # ink is the smaller part, and rarer along the border; and it lies not in the corners alone
    is_dark = share + dark_rim < 1.0
    if _in_corners((mask == 0) == is_dark):
        is_dark = not is_dark
    along = dark_rim if is_dark else 1.0 - dark_rim
    if not whatever and along > _MOST_ALONG:
        return None
    ink, varies = _ink(small, counts, cut, is_dark, rough)
    found = None if ink is None else _ends(ink, rough)
    if ink is None or found is None:
        return None
    if not whatever and max(height, width) > _CROP and _is_thick(ink, found):
        return None  # a shadow, or the ground around a sheet
    room = _NEAR * np.array(small.shape)
    fills = found[0] <= room[1] and found[1] <= room[0]
    fills = fills and found[2] >= small.shape[1] - room[1] and found[3] >= small.shape[0] - room[0]
    squares = _squares(_cut(grey, small, ink, found), fills)
    x0, y0, x1, y1 = found
    ratio_x, ratio_y = width / small.shape[1], height / small.shape[0]
    low = (int(x0 * ratio_x), int(y0 * ratio_y))
    high = (max(low[0] + 1, round(x1 * ratio_x)), max(low[1] + 1, round(y1 * ratio_y)))
    box = Box(*low, min(high[0], width) - low[0], min(high[1], height) - low[1])
    share = max(box.width / width, box.height / height)
    clean = varies <= _CLEAN or max(height, width) > _CROP
    return Found(squares, box, share, box.width / box.height, clean)


def _ink(
    small: images.UInt8, counts: NDArray[np.int64], cut: int, dark: bool, rough: bool
) -> tuple[NDArray[np.float32] | None, float]:
    """Ink, 0 to 1, where the ground is plain; and how much that varies, as a share of the contrast
    (0 where it is not asked for).

    Args:
        counts: of each of the 256 levels.
        cut: the first level that is not dark.
    """
    levels = np.arange(256)
    strokes = np.where((levels < cut) == dark, counts, 0)
    ground = counts - strokes
    base = _percentile(ground, 0.5)
    # the middle of thin strokes: their edges are mixed with the ground
    full = _percentile(strokes, 0.25 if dark else 0.75)
    contrast = abs(full - base)
    if contrast < _CONTRAST and not rough:
        return None, 0.0
    varies = 0.0
    if not rough:
        away = np.bincount(np.abs(levels - base), weights=ground, minlength=256)
        varies = _percentile(away, 0.5) / contrast
        if varies > _ROUGH:
            return None, varies
    table = ((levels - base) / (full - base or 1)).clip(0, 1).astype(np.float32)
    return table[small], varies


def _is_thick(ink: NDArray[np.float32], ends: tuple[int, int, int, int]) -> bool:
    """Whether an area is no stroke."""
    mask = (ink > 0.5).astype(np.uint8)
    half = float(cv2.distanceTransform(mask, cv2.DIST_L2, 3).max())
    return half > _THICK * max(ends[2] - ends[0], ends[3] - ends[1])


def _in_corners(ink: NDArray[np.bool_]) -> bool:
    """Whether ink is in the corners of an image and not in its middle."""
    height, width = ink.shape
    corners = int(ink[0, 0]) + int(ink[0, -1]) + int(ink[-1, 0]) + int(ink[-1, -1])
    if corners < 2:
        return False
    middle = ink[height // 3 : -(height // 3) or None, width // 3 : -(width // 3) or None]
    return cv2.countNonZero(middle.view(np.uint8)) < _EMPTY * middle.size


def _percentile(counts: NDArray[Any], share: float) -> int:
    """The level below which a share of what was counted lies."""
    sums = counts.cumsum()
    return int(np.searchsorted(sums, share * sums[-1]))


def _ends(ink: NDArray[np.float32], whatever: bool) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom of the one digit; None where there are several."""
    count, _, stats, _ = cv2.connectedComponentsWithStats((ink > 0.4).astype(np.uint8))
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA]
    total = int(areas.sum())
    boxes = stats[1:][areas >= _SPECK * total]
    large = stats[1:][areas >= _PART * total]
    if not whatever:
        if len(large) > 3 or not len(large):
            return None
        main = stats[1:][areas.argmax()]
        for one in large:
            shared = min(one[0] + one[2], main[0] + main[2]) - max(one[0], main[0])
            if shared < 0.4 * min(one[2], main[2]):
                return None  # side by side
    x0, y0 = boxes[:, 0].min(), boxes[:, 1].min()
    x1, y1 = (boxes[:, 0] + boxes[:, 2]).max(), (boxes[:, 1] + boxes[:, 3]).max()
    return int(x0), int(y0), int(x1), int(y1)


def _cut(
    grey: images.UInt8,
    small: images.UInt8,
    ink: NDArray[np.float32],
    ends: tuple[int, int, int, int],
) -> NDArray[np.float32]:
    """The digit's ink, finer than it was looked at where it was small."""
    x0, y0, x1, y1 = ends
    if max(x1 - x0, y1 - y0) < 30 and grey.shape != small.shape:
        ratio = (grey.shape[1] / small.shape[1], grey.shape[0] / small.shape[0])
        left, top = int(max(0, x0 - 1) * ratio[0]), int(max(0, y0 - 1) * ratio[1])
        right, bottom = int((x1 + 1) * ratio[0]), int((y1 + 1) * ratio[1])
        part = grey[top:bottom, left:right]
        scale = min(1.0, _CUT / max(part.shape))
        size = [max(1, round(side * scale)) for side in part.shape[::-1]]
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
        base, full = float(np.median(small[ink < 0.2])), float(np.median(small[ink > 0.6]))
        fine = ((part.astype(np.float32) - base) / (full - base or 1.0)).clip(0, 1)
        return np.asarray(fine, np.float32)
    return ink[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1]


def _squares(ink: NDArray[np.float32], fills: bool) -> tuple[images.UInt8, ...]:
    """In MNIST's form. What fills the image may have been stretched: it is also read narrower,
    and much narrower where it is a bar."""
    whole = mnist(ink)
    mask = (ink > EDGE).astype(np.uint8)
    x, y, across, down = cv2.boundingRect(mask)
    part = ink[y : y + down, x : x + across]
    if not fills or not part.size:
        return (whole,)
    narrow = [_SLIM]
    if _is_bar(part > EDGE, cv2.mean(part)[0]):
        narrow.append(_NARROW)
    return (whole, *(_slim(part, times) for times in narrow))


def _slim(ink: NDArray[np.float32], times: float) -> images.UInt8:
    size = (max(1, round(times * ink.shape[1])), ink.shape[0])
    return mnist(np.asarray(cv2.resize(ink, size, interpolation=cv2.INTER_AREA), np.float32))


def _is_bar(mask: NDArray[np.bool_], share: float) -> bool:
    """Whether each row crosses one stroke, and these fill most of the box, or are about as wide
    and along a straight line."""
    if share < _BAR:
        return False
    columns = np.arange(mask.shape[1])
    widths = mask.sum(axis=1)
    rows = np.flatnonzero(widths)
    first = mask.argmax(axis=1)
    last = mask.shape[1] - mask[:, ::-1].argmax(axis=1)
    if (last - first - widths)[rows].sum() > _GAPS * widths.sum():
        return False
    if share > _FULL:
        return True
    middles = (mask @ columns)[rows] / widths[rows]
    line = np.polyval(np.polyfit(rows, middles, 1), rows) if len(rows) > 2 else middles
    bent = float(np.abs(middles - line).mean()) / mask.shape[1]
    return bent < _BENT and float(widths[rows].std() / widths[rows].mean()) < _UNEVEN
