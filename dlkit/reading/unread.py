"""Ink in a page's lines that was read as nothing: a word, a unit, a smudge, a digit missed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.reading import finder, ink

_Float = NDArray[np.float32]

# In heights of the page's digits: ink as high as a letter, from a hair to a word.
_HIGH, _WIDE = (0.5, 1.8), (0.12, 8.0)
_FILLED = 0.1  # of its box: what has less is a rule that is not quite level
_READ = 0.3  # of the smaller box: what shares so much with a sign was read
_DARK = 0.6  # of the digits' contrast: what has less is no writing
_ROW, _COLUMN = 0.85, 0.95  # of a row or column of its box: printed lines fill so much


def unread(grey: images.UInt8, pieces: ink.Pieces, signs: _Float, digits: _Float) -> _Float:
    """Pieces of ink about as high and dark as a page's digits that no sign has.

    Args:
        grey: uint8 (H, W).
        pieces: of ink in it.
        signs: (N, 4), boxes of all that was read.
        digits: (M, 4), of the digits among these, at least one.

    Returns:
        boxes, float32 (K, 4).
    """
    high = float(np.median(digits[:, 3]))
    wide, tall = pieces.boxes[:, 2] / high, pieces.boxes[:, 3] / high
    like = (tall > _HIGH[0]) & (tall < _HIGH[1]) & (wide > _WIDE[0]) & (wide < _WIDE[1])
    boxes = pieces.boxes[like & (pieces.filled > _FILLED)]
    read = finder.close(finder.inside, boxes, _READ, signs)
    boxes = boxes[np.array([not len(places) for places in read], bool)]
    least = _DARK * float(np.median([_contrast(_part(grey, box)) for box in digits]))
    dark = [_is_writing(_part(grey, box), least) for box in boxes]
    return np.asarray(boxes[np.array(dark, bool)], np.float32)


def _is_writing(part: images.UInt8, least: float) -> bool:
    """Whether it has that contrast, and no row or column that is all ink."""
    if _contrast(part) < least:
        return False
    dark = part < np.quantile(part, (0.05, 0.95)).mean()
    written = dark if dark.mean() < 0.5 else ~dark
    return bool(written.mean(axis=1).max() < _ROW and written.mean(axis=0).max() < _COLUMN)


def _contrast(part: images.UInt8) -> float:
    low, high = np.quantile(part, (0.05, 0.95))
    return float(high - low)


def _part(grey: images.UInt8, box: _Float) -> images.UInt8:
    """What a box has of the image, a pixel at least."""
    left, top = np.minimum(np.maximum(box[:2], 0), np.array(grey.shape[::-1]) - 1).astype(int)
    right, bottom = np.ceil(box[:2] + box[2:]).astype(int)
    return grey[top : max(bottom, top + 1), left : max(right, left + 1)]
