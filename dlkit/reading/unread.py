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
_SOME = 40  # digits say how dark the ink is
_DARK = 0.6  # of the digits' contrast: what has less is no writing
_CORNER, _INNER = 6, 4  # parts of a side: a printed box has ink in the corners, none in the middle


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
    boxes = np.asarray(boxes[np.array([not len(places) for places in read], bool)], np.float32)
    if not len(boxes):
        return boxes
    paper = ink.on_bright(grey)
    some = digits[:: 1 + len(digits) // _SOME]
    least = _DARK * float(np.median([_contrast(_part(paper, box)) for box in some]))
    written = [_is_writing(_part(paper, box), least) for box in boxes]
    return np.asarray(boxes[np.array(written, bool)], np.float32)


def _is_writing(part: images.UInt8, least: float) -> bool:
    """Whether it has that contrast, and is no empty printed box."""
    low, high = _levels(part)
    if high - low < least:
        return False
    dark = part < (low + high) / 2
    rows, columns = (max(1, side // _CORNER) for side in dark.shape)
    corners = (dark[y, x] for y in (slice(rows), slice(-rows, None))
               for x in (slice(columns), slice(-columns, None)))  # fmt: skip
    rows, columns = (side // _INNER for side in dark.shape)
    inner = dark[rows : len(dark) - rows, columns : dark.shape[1] - columns]
    return bool(inner.any() or not all(corner.any() for corner in corners))


def _contrast(part: images.UInt8) -> int:
    low, high = _levels(part)
    return high - low


def _levels(part: images.UInt8) -> tuple[int, int]:
    """The ends of its levels, but for a twentieth at each."""
    rising = np.sort(part, axis=None)
    return int(rising[len(rising) // 20]), int(rising[-1 - len(rising) // 20])


def _part(grey: images.UInt8, box: _Float) -> images.UInt8:
    """What a box has of the image, a pixel at least."""
    left, top = np.minimum(np.maximum(box[:2], 0), np.array(grey.shape[::-1]) - 1).astype(int)
    right, bottom = np.ceil(box[:2] + box[2:]).astype(int)
    return grey[top : max(bottom, top + 1), left : max(right, left + 1)]
