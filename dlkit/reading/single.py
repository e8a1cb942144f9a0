"""One digit on plain ground, by its levels alone: crops, icons, drawings."""

from __future__ import annotations

from dataclasses import dataclass

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
_FEW = 24  # pixels of the longer side: smaller images are enlarged first
_TINY = 40  # pixels of the longer side: edges are all there is, and say nothing of the ground
_SPECK = 0.04  # of the ink: what is smaller is dirt
_PART = 0.12  # of the ink: what is larger belongs to the digit, or is another one
_CROP = 256  # pixels of the longer side: what is larger is rather a photograph than a crop
_ALONG, _MOST_ALONG = 0.02, 0.6  # of the border: as much ink may lie along it, in crops more
_BAR = 0.38  # of its box: a digit that fills more is a stretched stroke
_ALONE = 0.93  # of its rows: and crosses one stroke in so many
_NARROW = 0.35  # of its width: how a stretched stroke is read


@dataclass(frozen=True)
class Found:
    """One digit on plain ground.

    Attributes:
        squares: uint8 (28, 28), bright on black: the ways in which it may be read.
        box: around it in the image's pixels.
        share: of the image's height or width that it takes, whichever is more.
        broad: how many times as wide as high it is.
    """

    squares: tuple[images.UInt8, ...]
    box: Box
    share: float
    broad: float


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
    level, _ = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    dark = small <= level
    share = float(np.count_nonzero(dark)) / dark.size
    if share in (0.0, 1.0):
        return None
    rough = whatever or max(grey.shape) <= _TINY
    border = np.concatenate([dark[0], dark[-1], dark[1:-1, 0], dark[1:-1, -1]])
    # ink is the smaller part, and rarer along the border
    is_dark = share + float(border.mean()) < 1.0
    along = float(border.mean()) if is_dark else 1.0 - float(border.mean())
    if not whatever and along > (_ALONG if max(height, width) > _CROP else _MOST_ALONG):
        return None  # a shadow, or the ground around a sheet
    ink = _ink(small, dark if is_dark else ~dark, is_dark, rough)
    found = None if ink is None else _ends(ink, rough)
    if ink is None or found is None:
        return None
    squares = _squares(_cut(grey, small, ink, found))
    x0, y0, x1, y1 = found
    ratio_x, ratio_y = width / small.shape[1], height / small.shape[0]
    low = (int(x0 * ratio_x), int(y0 * ratio_y))
    high = (max(low[0] + 1, round(x1 * ratio_x)), max(low[1] + 1, round(y1 * ratio_y)))
    box = Box(*low, min(high[0], width) - low[0], min(high[1], height) - low[1])
    return Found(
        tuple(squares), box, max(box.width / width, box.height / height), box.width / box.height
    )


def _ink(
    small: images.UInt8, mask: NDArray[np.bool_], dark: bool, rough: bool
) -> NDArray[np.float32] | None:
    """Ink, 0 to 1, where the ground is plain."""
    ground = small[~mask].astype(np.float32)
    strokes = small[mask].astype(np.float32)
    base = float(np.median(ground))
    # the middle of thin strokes: their edges are mixed with the ground
    full = float(np.percentile(strokes, 25 if dark else 75))
    contrast = abs(full - base)
    if contrast < _CONTRAST and not rough:
        return None
    if not rough and float(np.median(np.abs(ground - base))) > _ROUGH * contrast:
        return None
    return ((small.astype(np.float32) - base) / (full - base or 1.0)).clip(0, 1)


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
    """The digit's ink, black around it, finer than it was looked at where it was small."""
    x0, y0, x1, y1 = ends
    if max(x1 - x0, y1 - y0) < 30 and grey.shape != small.shape:
        ratio = (grey.shape[1] / small.shape[1], grey.shape[0] / small.shape[0])
        left, top = int(max(0, x0 - 1) * ratio[0]), int(max(0, y0 - 1) * ratio[1])
        right, bottom = int((x1 + 1) * ratio[0]), int((y1 + 1) * ratio[1])
        part = grey[top:bottom, left:right]
        scale = min(1.0, _CUT / max(part.shape))
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        base, full = float(np.median(small[ink < 0.2])), float(np.median(small[ink > 0.6]))
        fine = ((part.astype(np.float32) - base) / (full - base or 1.0)).clip(0, 1)
        return np.pad(np.asarray(fine, np.float32), 1)
    return np.pad(ink[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1], 1)


def _squares(ink: NDArray[np.float32]) -> list[images.UInt8]:
    """As it is; and narrower, where it may be a stroke that a crop was stretched to."""
    found = [mnist(ink)]
    ys, xs = (np.flatnonzero(np.any(ink > EDGE, axis=axis)) for axis in (1, 0))
    if not len(ys):
        return found
    part = ink[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    mask = np.pad(part > EDGE, ((0, 0), (1, 0)))
    runs = (mask[:, 1:] & ~mask[:, :-1]).sum(axis=1)  # strokes that each row crosses
    if part.mean() > _BAR and float((runs <= 1).mean()) > _ALONE:
        width = max(1, round(_NARROW * part.shape[1]))
        slim = cv2.resize(part, (width, part.shape[0]), interpolation=cv2.INTER_AREA)
        found.append(mnist(np.pad(np.asarray(slim, np.float32), 1)))
    return found
