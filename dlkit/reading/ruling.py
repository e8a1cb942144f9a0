"""Squares that are as dark as the ink, and of another colour: they can be taken out."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

_TILE = 512  # pixels of the longer side of the part that is looked at, in the middle
_LONG, _ACROSS = 96, 0.9  # pixels, or share of a smaller image: no stroke of a digit is so long
_LEAST = 20  # pixels of the shorter side: smaller images show no squares
_CONTRAST = 24.0  # of 255: less between paper and ink is none
_DARK = 0.3  # of the contrast: ink, or a line
_EACH = 0.2  # of the lines one way: so many run the other way, at least, where there are squares
_STRONG = 0.5  # of the ink's contrast: lines of less do not disturb
_STROKE = 17  # pixels: lines and strokes are thinner, shadows and what is printed large are not
# How far ink is, at least, from all that lines can look like: in levels, and in deviations of the
# paper. So much of the ink is half as far, at least.
_APART, _PAPERS, _MOST = 8.0, 3.0, 0.7
_INK, _PAPER = 30.0, 230.0  # levels of the result


class Axis(NamedTuple):
    """An axis of colour.

    Attributes:
        steep: (3,), levels of the result by those of blue, green and red.
        paper: (3,), the paper's colour.
    """

    steep: NDArray[np.floating[Any]]
    paper: NDArray[np.floating[Any]]

    def levels(self, image: images.Image) -> images.UInt8:
        """An image, uint8 or uint16 (H, W, 3 or 4) BGR, along the axis: uint8 (H, W), ink dark."""
        start = _PAPER - self.paper @ self.steep
        along = cv2.transform(_colours(image), self.steep[None]) + start
        return np.asarray(along.clip(0, 255), np.uint8)


def without_squares(image: images.Image) -> Axis | None:
    """The axis of colour on which an image's squares are as bright as the paper.

    Between paper and line all colours lie on one way; the axis is at a right angle to it, towards
    the ink.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, of which alpha is left out.

    Returns:
        the axis; None where there are no squares, they are weak, or of the ink's colour; or there
        are no colours.
    """
    if image.ndim == 2 or min(image.shape[:2]) < _LEAST:
        return None
    part = image[middle(image.shape)][:, :, :3]
    stroke = np.ones((_STROKE, _STROKE), np.uint8)
    depth = np.asarray(cv2.morphologyEx(images.grey(part), cv2.MORPH_BLACKHAT, stroke), np.float32)
    contrast = float(np.quantile(depth, 0.995))
    if contrast < _CONTRAST:
        return None
    dark = np.asarray(depth > _DARK * contrast, np.uint8)
    found = _squares(dark)
    lines, ink = found > 0, dark > cv2.dilate(found, np.ones((5, 5), np.uint8))
    if not lines.any() or not ink.any():
        return None
    if np.median(depth[lines]) < _STRONG * np.median(depth[ink]):
        return None
    colours = _colours(part)
    paper = np.median(colours.reshape(-1, 3), axis=0)
    line = np.median(colours[lines], axis=0) - paper
    written = colours[ink] - paper
    beside = written - np.outer(written @ line, line) / max(float(line @ line), 1e-6)
    axis = np.median(beside, axis=0)
    apart = float(np.linalg.norm(axis))
    axis /= max(apart, 1e-6)
    rest = float(np.std(cv2.transform(colours, axis[None])[dark == 0]))
    if apart < max(_APART, _PAPERS * rest):
        return None
    if np.mean(beside @ axis > apart / 2) < _MOST:
        return None
    return Axis((_INK - _PAPER) / apart * axis, paper)


def _colours(image: images.Image) -> NDArray[np.float32]:
    """Blue, green and red from 0 to 255: float32 (H, W, 3)."""
    scale = np.float32(1 / 257 if image.dtype == np.uint16 else 1)
    return np.asarray(image[:, :, :3].astype(np.float32) * scale, np.float32)


def middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of an image (H, W) by which it is judged: at most 512 x 512 pixels."""
    rows, columns = (max(0, (length - _TILE) // 2) for length in shape[:2])
    return slice(rows, rows + _TILE), slice(columns, columns + _TILE)


def _squares(dark: images.UInt8) -> images.UInt8:
    """What belongs to long lines, where they run across and down: uint8 (H, W), 0 or 1."""
    height, width = dark.shape
    across = np.ones((1, min(_LONG, int(_ACROSS * width))), np.uint8)
    down = np.ones((min(_LONG, int(_ACROSS * height)), 1), np.uint8)
    both = [np.asarray(cv2.morphologyEx(dark, cv2.MORPH_OPEN, line), np.uint8)
            for line in (across, down)]  # fmt: skip
    less, more = sorted(int(one.sum()) for one in both)
    # Lines that run one way alone hide little; and a 1 is one, too.
    return np.asarray(both[0] | both[1] if less >= _EACH * more else 0 * dark, np.uint8)
