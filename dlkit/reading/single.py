"""One digit on plain ground, by its levels alone: crops, icons, drawings."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.reading.ground import LOOK, in_corners, is_one, is_paper, is_smooth, is_thick
from dlkit.reading.page import Box
from dlkit.reading.parts import Ends, at_border, one_digit
from dlkit.reading.square import EDGE, mnist

_CUT = 160  # pixels of the longer side of a digit that is cut out
_CONTRAST = 24.0  # of 255: less between ink and ground is none
_ROUGH = 0.07  # of the contrast: how much the ground may vary
_CLEAN = 0.006  # of the contrast: ground that varies less was drawn or cut out, not photographed
_FEW = 24  # pixels of the longer side: smaller images are enlarged first,
_SHARP = 0.6  # and by how much of what is blurred away they are made sharper
_TINY = 40  # pixels of the longer side: edges are all there is, and say nothing of the ground
_INK, _FAINT = 0.4, 0.12  # of the contrast: ink, and its blurred edge
_NEAR = 0.07  # of the image: how near to its border a digit ends that fills it
_CROP = 256  # pixels of the longer side: what is larger is rather a photograph than a crop
_MOST_ALONG = 0.6  # of the border: more ink along it is none
_BAR, _FULL = 0.3, 0.55  # of its box: what fills more may be a stretched stroke,
_GAPS, _BENT, _UNEVEN = 0.05, 0.07, 0.4  # with gaps, bends and changes of width up to these
_UPRIGHT = 0.55  # of its height: a digit that is less wide than this
# Of its width: how what may be stretched is read; and what may be such a stroke, each in turn.
_SLIM, _STROKE = 0.85, (1.0, 0.75, 0.35)

_LEVELS = np.arange(256, dtype=np.float32)


@dataclass(frozen=True)
class Found:
    """One digit on plain ground.

    Attributes:
        squares: uint8 (28, 28) each, bright on black: the digit; in several widths where it may
            be a stroke that was stretched.
        box: around it in the image's pixels.
        share: of the image's height or width that it takes, whichever is more.
        broad: how many times as wide as high it is.
        clean: the ground is as even as nothing is that was photographed; or the digit is so large
            that the networks for paper see its loops as digits.
        large: it was looked at so much smaller that a page of digits may look like one of them.
        signs: where something stands beside it as points, commas and a minus do, the digit
            without that, and each of those.
    """

    squares: tuple[images.UInt8, ...]
    box: Box
    share: float
    broad: float
    clean: bool
    large: bool
    signs: tuple[Box, ...] = ()


def plain(grey: images.UInt8, whatever: bool = False) -> Found | None:
    """The digit; None where the ground is not plain, or where there may be several.

    Args:
        grey: uint8 (H, W).
        whatever: take what there is for a digit, however the ground looks.
    """
    height, width = grey.shape
    small = _small(grey)
    level, bits = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    mask = np.asarray(bits, np.uint8)
    # Python's own lists and numbers where an image is small: NumPy's calls would take longer
    sums = np.bincount(small.ravel(), minlength=256).cumsum().tolist()
    cut = int(level) + 1
    share = sums[cut - 1] / small.size
    if share in (0.0, 1.0):
        return None
    bright = cv2.countNonZero(mask)
    inner = mask[1:-1, 1:-1]
    rim = small.size - inner.size
    dark_rim = 1.0 - (bright - (cv2.countNonZero(inner) if inner.size else 0)) / rim
    # ink is the smaller part, and rarer along the border; and it lies not in the corners alone
    dark = share + dark_rim < 1.0
    if in_corners(mask, dark):
        dark = not dark
    if not whatever and is_paper(mask, dark):
        return None
    along = dark_rim if dark else 1.0 - dark_rim
    rough = whatever or max(height, width) <= _TINY
    ink, contrast, varies = _ink(small, sums, cut, dark)
    if contrast < _CONTRAST and not rough:
        return None
    parts = one_digit((ink > _INK).view(np.uint8), rough)
    if parts is None:
        return None
    found, apart = parts
    large = max(height, width) > _CROP
    smooth = rough or varies <= _CLEAN or (not large and is_smooth(grey))
    fills = _fills(ink, _FAINT if smooth else _INK)
    if large and fills and is_one(grey, level, dark) and is_smooth(grey):
        large, smooth = False, True
    if not (whatever or (fills and smooth)) and (along > _MOST_ALONG or varies > _ROUGH):
        return None
    partly = not _fills(ink, _INK)
    cut_off = partly and at_border(found, ink.shape) and not (fills and is_smooth(grey))
    if not rough and (large or cut_off) and is_thick(ink, found):
        return None  # a shadow, or what is around a sheet
    squares = _squares(_cut(grey, small, ink, found), fills)
    box = _in_image(found, small, grey)
    if partly and any(at_border(one, ink.shape) for one in apart):
        apart = []  # a neighbour was cut off there, or a shadow
    signs = () if large else tuple(_in_image(one, small, grey) for one in apart)
    share = max(box.width / width, box.height / height)
    return Found(squares, box, share, box.width / box.height, smooth or large, large, signs)


def _in_image(ends: Ends, small: images.UInt8, grey: images.UInt8) -> Box:
    """What was found in a smaller image, or a larger one."""
    (height, width), (x0, y0, x1, y1) = grey.shape, ends
    ratio_x, ratio_y = width / small.shape[1], height / small.shape[0]
    low = (int(x0 * ratio_x), int(y0 * ratio_y))
    high = (max(low[0] + 1, round(x1 * ratio_x)), max(low[1] + 1, round(y1 * ratio_y)))
    return Box(*low, min(high[0], width) - low[0], min(high[1], height) - low[1])


def _small(grey: images.UInt8) -> images.UInt8:
    """An image as it is looked at. Tiny ones are enlarged, and sharpened by a pixel of theirs: they
    were made smaller by averaging."""
    longer = max(grey.shape)
    if _FEW <= longer <= LOOK:
        return grey
    scale = LOOK / 2 / longer if longer < _FEW else LOOK / longer
    size = [max(1, round(side * scale)) for side in grey.shape[::-1]]
    if scale < 1:
        return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    large = cv2.resize(grey, size, interpolation=cv2.INTER_LANCZOS4)
    soft = cv2.GaussianBlur(large, (0, 0), scale)
    return np.asarray(cv2.addWeighted(large, 1 + _SHARP, soft, -_SHARP, 0), np.uint8)


def _ink(
    small: images.UInt8, sums: list[int], cut: int, dark: bool
) -> tuple[NDArray[np.float32], float, float]:
    """Ink, 0 to 1; how many levels it is from the ground; and how much that varies, as a share of
    them.

    Args:
        sums: how many pixels have each of the 256 levels or less.
        cut: the first level that is not dark.
    """
    below, total = sums[cut - 1], sums[-1]
    if dark:
        first, last, under, count = cut, 255, below, total - below  # of the ground
        full = bisect_left(sums, 0.25 * below)
    else:
        first, last, under, count = 0, cut - 1, 0, below
        full = bisect_left(sums, below + 0.75 * (total - below))
    # full: the middle of thin strokes, for their edges are mixed with the ground
    base = bisect_left(sums, under + 0.5 * count)

    def within(away: int) -> int:
        lowest = max(first, base - away)
        return sums[min(last, base + away)] - (sums[lowest - 1] if lowest else 0)

    away = bisect_left(range(256), 0.5 * count, key=within)
    table = (_LEVELS - np.float32(base)) * np.float32(1 / (full - base or 1))
    ink = cv2.LUT(small, np.minimum(np.maximum(table, 0), 1))
    return np.asarray(ink, np.float32), abs(full - base), away / max(abs(full - base), 1)


def _fills(ink: NDArray[np.float32], least: float) -> bool:
    """Whether there is ink of that strength near all four sides."""
    x, y, across, down = cv2.boundingRect((ink > least).view(np.uint8))
    height, width = ink.shape
    side, end = max(1, int(_NEAR * width)), max(1, int(_NEAR * height))
    return x < side and y < end and x + across > width - side and y + down > height - end


def _cut(
    grey: images.UInt8,
    small: images.UInt8,
    ink: NDArray[np.float32],
    ends: Ends,
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
    """In MNIST's form. What fills the image may have been stretched to do so: it is read a little
    narrower, and in several widths where it is a bar."""
    if not fills:
        return (mnist(ink),)
    x, y, across, down = cv2.boundingRect((ink > EDGE).view(np.uint8))
    part = ink[y : y + down, x : x + across]
    if across < _UPRIGHT * down:  # what is so narrow now was not stretched
        return (mnist(ink),)
    bar = _is_bar(part > EDGE, cv2.mean(part)[0])
    return tuple(_slim(part, times) for times in (_STROKE if bar else (_SLIM,)))


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
    at = rows - rows.mean()
    slope = float(at @ middles) / max(float(at @ at), 1.0)
    bent = float(np.abs(middles - middles.mean() - slope * at).mean()) / mask.shape[1]
    return bent < _BENT and float(widths[rows].std() / widths[rows].mean()) < _UNEVEN
