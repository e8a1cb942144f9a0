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
_WINDOWS = (1 / 32, 1 / 22, 1 / 16, 1 / 11, 1 / 8, 1 / 5.6, 1 / 4, 1 / 2.8)
_AROUND = (1 / 4, 1 / 2.8, 1 / 2, 1 / 1.4)  # windows for the polarity
_CLEAR = 0.6  # of their sum, if all had one sign: they agree
_SAME = 0.8  # of the ink that the next two windows show, or they of its: it is all there
_LEAST = 0.1  # of the most ink that two windows show
_SPARE = 1.5  # wider than what shows it: strokes are thicker where they cross
_THICK = 0.5  # of its length: what is wider is no stroke
_ALONG = 0.6  # of its length: what lies along the border with more is a shadow's tip
_FINE = 24  # pixels of the window when the paper is estimated: more only costs time


def strength(grey: images.UInt8) -> Float:
    """Ink of an image.

    The paper under the ink is a morphological closing with a window just wider than the strokes,
    which keeps the edges of shadows.

    Args:
        grey: uint8 (H, W), dark ink on light or bright on dark.

    Returns:
        float32 (H, W): the share of light that the ink takes, about 0 on paper, at most 1.
    """
    small, scale = shrink(grey, _LOOK)
    bright, window = _search(small)
    if bright:
        grey = 255 - grey
    window /= scale
    fine, shrunk = shrink(grey, max(1, round(max(grey.shape) * min(1.0, _FINE / window))))
    paper = _closing(fine.astype(np.float32), window * shrunk)
    spread = cv2.resize(paper, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.7)
    found: Float = (1 - (smooth + 1) / (spread + 1)).astype(np.float32)
    found -= np.float32(
        np.median(found[:: 1 + found.shape[0] // 500, :: 1 + found.shape[1] // 500])
    )
    return found


def shrink(grey: images.UInt8, most: int) -> tuple[images.UInt8, float]:
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


def _search(small: images.UInt8) -> tuple[bool, float]:
    """Whether the ink is brighter than the paper, and a window that holds its strokes, in pixels.

    Ink is the smaller part: the third moment about the median around each pixel says which side
    that is, and the median follows the edges of shadows. Small windows may take paper that is
    enclosed by wide strokes for ink, large ones the light beside a shadow. Where they do not agree,
    that side is taken whose strokes are longer and thinner: the paper between lines is not.
    """
    skews = []
    for share in _AROUND:
        middle = cv2.medianBlur(small, max(3, round(min(small.shape) * share) | 1))
        skews.append(float(((small.astype(np.float32) - middle) ** 3).mean()))
    plane = small.astype(np.float32)
    flat = np.asarray(cv2.GaussianBlur(plane, (0, 0), 0.8) / _fit(plane), np.float32)
    if abs(sum(skews)) >= _CLEAR * sum(map(abs, skews)):
        bright = sum(skews) > 0
        return bright, _window(-flat if bright else flat)[0]
    (dark_window, dark), (bright_window, light) = _window(flat), _window(-flat)
    bright = light > dark or (light == dark and sum(skews) > 0)
    return bright, bright_window if bright else dark_window


def _window(flat: Float) -> tuple[float, float]:
    """The smallest window that shows all dark strokes, and how long and thin they are; 0: none.

    Ink by width is the length of strokes, and length by width how thin they are: the geometric mean
    of both.
    """
    sides = [max(3.0, min(flat.shape) * share) for share in _WINDOWS]
    shown = [_drawn(_closing(flat, side) - flat) for side in sides]
    for index, (side, mass) in enumerate(zip(sides, shown, strict=True)):
        wider = shown[index + 1 : index + 3]
        same = len(wider) == 2 and _SAME * max(wider) <= mass <= min(wider) / _SAME
        if same and mass > _LEAST * sorted(shown)[-2]:
            return _SPARE * side, mass / side**1.5
    return _SPARE * sides[-1], 0.0


def _drawn(hat: Float) -> float:
    """How much ink there is in strokes; shadows are blobs or lie at the edges of the image."""
    middle, low, top = np.quantile(hat[::2, ::2], (0.5, 0.16, 0.998))
    mask = hat > max(0.5 * top, middle + 5 * (middle - low), 0.02)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    own = labels[mask]
    deep = np.zeros(count)
    np.maximum.at(deep, own, cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)[mask])
    size = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    borders = [labels[0], labels[-1], labels[:, 0], labels[:, -1]]
    rim = np.bincount(np.concatenate(borders), minlength=count)
    touched = sum((np.bincount(border, minlength=count) > 0).astype(int) for border in borders)
    strokes = (2 * deep <= _THICK * size) & (rim <= _ALONG * size) & (touched < 2)
    strokes[0] = False
    return float(np.bincount(own, hat[mask], count)[strokes].sum())


def _closing(plane: Float, window: float) -> Float:
    side = max(3, round(window)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))
    # Beyond the border all goes on as it is, so that the tip of a shadow there is no stroke.
    wide = cv2.copyMakeBorder(plane, side, side, side, side, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)
    return np.asarray(closed[side:-side, side:-side], np.float32)
