"""How strongly each pixel is ink: uneven light, paper and polarity removed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

Float = NDArray[np.float32]

_LOOK = 400  # pixels of the longer side for the search of light, polarity and width of strokes
_GRID = 48  # points a side to which the light is fitted
_ROUNDS = 8  # of the fit; it has settled by then
# Windows of the search, as shares of the shorter side. Strokes must fit into one; a smaller one
# follows the edges of shadows better.
_WINDOWS = (1 / 16, 1 / 11, 1 / 8, 1 / 5.6, 1 / 4, 1 / 2.8)
_AROUND = (1 / 4, 1 / 2.8, 1 / 2, 1 / 1.4)  # windows for the polarity
_ENOUGH = 0.8  # of the ink that the next two windows show: it is all there
_LEAST = 0.25  # of the ink that any window shows
_SPARE = 1.5  # wider than what shows it: strokes are thicker where they cross
_THICK = 0.5  # of its length: what is wider is no stroke
_ALONG = 0.6  # of its length: what lies along the border with more is a shadow's tip
_FINE = 24  # pixels of the window when the paper is estimated: more only costs time


def strength(grey: images.Pixels) -> Float:
    """Ink of an image.

    The paper under the ink is a morphological closing with a window just wider than the strokes,
    which keeps the edges of shadows.

    Args:
        grey: uint8 (H, W), dark ink on light or bright on dark.

    Returns:
        float32 (H, W): the share of light that the ink takes, about 0 on paper, at most 1.
    """
    small, scale = shrink(grey, _LOOK)
    if _bright(small):
        grey, small = 255 - grey, 255 - small
    window = _window(small.astype(np.float32)) / scale
    fine, shrunk = shrink(grey, max(1, round(max(grey.shape) * min(1.0, _FINE / window))))
    paper = _closing(fine.astype(np.float32), window * shrunk)
    spread = cv2.resize(paper, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.7)
    found: Float = (1 - (smooth + 1) / (spread + 1)).astype(np.float32)
    found -= np.float32(
        np.median(found[:: 1 + found.shape[0] // 500, :: 1 + found.shape[1] // 500])
    )
    return found


def shrink(grey: images.Pixels, most: int) -> tuple[images.Pixels, float]:
    """Grey of at most so many pixels on the longer side, and by how much it was scaled."""
    scale = most / max(grey.shape)
    if scale >= 1:
        return grey, 1.0
    size = tuple(max(1, round(side * scale)) for side in grey.shape[::-1])
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8), scale


def _fit(small: Float) -> Float:
    """A surface of second order through the paper: least absolute deviations by reweighting."""
    height, width = small.shape
    grid = cv2.resize(small, (min(_GRID, width), min(_GRID, height)), interpolation=cv2.INTER_AREA)
    terms = _terms(*grid.shape)
    values = grid.reshape(-1).astype(np.float64)
    weights = np.ones_like(values)
    for _ in range(_ROUNDS):
        weighted = terms * weights[:, None]
        factors = np.linalg.lstsq(weighted.T @ terms, weighted.T @ values, rcond=None)[0]
        weights = 1 / np.maximum(np.abs(values - terms @ factors), 1.0)
    surface = (_terms(height, width) @ factors).reshape(height, width)
    return np.asarray(surface.clip(1, 255), np.float32)


def _terms(height: int, width: int) -> NDArray[np.float64]:
    y, x = (part.reshape(-1) for part in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


def _bright(small: images.Pixels) -> bool:
    """Whether the ink is brighter than the paper.

    By the third moment about the median around each pixel, which follows the edges of shadows: ink
    is the smaller part. Around strokes that are wide the windows must be, else the paper which they
    enclose would seem to be ink.
    """
    skew = 0.0
    for share in _AROUND:
        middle = cv2.medianBlur(small, max(3, round(min(small.shape) * share) | 1))
        skew += float(((small.astype(np.float32) - middle) ** 3).mean())
    return skew > 0


def _window(small: Float) -> float:
    """A window that holds the dark strokes, in pixels: the smallest that shows them all."""
    flat = np.asarray(cv2.GaussianBlur(small, (0, 0), 0.8) / _fit(small), np.float32)
    sides = [max(3.0, min(flat.shape) * share) for share in _WINDOWS]
    shown = [_drawn(_closing(flat, side) - flat) for side in sides]
    for index, (side, mass) in enumerate(zip(sides, shown, strict=True)):
        wider = shown[index + 1 : index + 3]
        if mass >= _LEAST * max(shown) and all(mass >= _ENOUGH * more for more in wider):
            return float(_SPARE * side)
    return float(_SPARE * sides[-1])


def _drawn(hat: Float) -> float:
    """How much ink there is in strokes; shadows are blobs or lie at the edges of the image."""
    middle, low, top = np.quantile(hat[::2, ::2], (0.5, 0.16, 0.998))
    mask = hat > max(0.5 * top, middle + 5 * (middle - low), 0.02)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    own = labels[mask]
    deep = np.zeros(count)
    np.maximum.at(deep, own, cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)[mask])
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    size = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    strokes = (2 * deep <= _THICK * size) & (np.bincount(rim, minlength=count) <= _ALONG * size)
    strokes[0] = False
    return float(np.bincount(own, hat[mask], count)[strokes].sum())


def _closing(plane: Float, window: float) -> Float:
    side = max(3, round(window)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    # Beyond the border all goes on as it is, so that the tip of a shadow there is no stroke.
    wide = cv2.copyMakeBorder(plane, side, side, side, side, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)
    return np.asarray(closed[side:-side, side:-side], np.float32)
