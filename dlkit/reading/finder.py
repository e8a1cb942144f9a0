"""Where digits and other signs are: a network's answer at several scales, as boxes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images

Float = NDArray[np.float32]
Places = NDArray[np.intp]
Network = Callable[[images.UInt8], NDArray[np.float32]]

STRIDE = 4  # pixels of a cell of the network's answer
_MULTIPLE = 16  # of its input's sides
UNIT = 16.0  # pixels: of widths and heights the logarithm of parts of it is given
_MARKS = 2.2  # points and commas are rare in training: their chance is that much higher
_LEAST = 0.25  # chance: what is less is no sign
_SAME = 0.4  # intersection over union: two boxes of one sign
WITHIN = 0.6  # of its area: a digit that lies so far in another one is a part of it
_PIXELS = 1_000_000  # an image is first looked at with no more
MOST_PIXELS = 4_000_000  # and, where its digits are small, with no more than this
_SMALL = 15.0  # pixels: digits that are found to be less high are looked at again, larger
_ENLARGED = 64  # pixels of the longer side: smaller images are enlarged to this
_STEP = 4  # from scale to scale: digits of 8 to 80 pixels are found on each
_COARSEST = 40  # pixels of the longer side
_BLOCK = 64  # boxes that are compared with all others at once
_EDGE = 8  # pixels around the image: digits may touch its border


def find(grey: images.UInt8, network: Network, parts: bool = False) -> Float:
    """Signs in an image.

    Args:
        grey: uint8 (H, W).
        network: uint8 (1, h, w) to float32 (1, 6, h / 4, w / 4); sides are multiples of 16.
        parts: also give digits that lie inside of likelier ones.

    Returns:
        float32 (N, 6): left, top, width and height in the image's pixels, and the chances of a
        digit and of another sign; the most likely first.
    """
    height, width = grey.shape
    longer = max(height, width)
    pixels = max(height * width, 2 * _MULTIPLE * longer)  # narrow ones are padded to that
    scale = min(1.0, (_PIXELS / pixels) ** 0.5)
    if longer < _ENLARGED:
        scale = _ENLARGED / longer
    found = [_at(grey, network, scale)]
    coarse = scale / _STEP
    while coarse * longer >= _COARSEST:
        found.append(_at(grey, network, coarse))
        coarse /= _STEP
    digits = found[0][found[0][:, 4] > found[0][:, 5]]
    finest = min(1.0, (MOST_PIXELS / pixels) ** 0.5)
    if scale < finest and len(digits) and np.median(digits[:, 3]) * scale < _SMALL:
        found.append(_at(grey, network, min(finest, 2 * scale)))
    return merged(np.concatenate(found), parts)


def _at(grey: images.UInt8, network: Network, scale: float) -> Float:
    """What is found at one scale, in the image's pixels."""
    size = tuple(max(1, round(side * scale)) for side in grey.shape[::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = grey
    if scale != 1:
        small = np.asarray(cv2.resize(grey, size, interpolation=how), np.uint8)
    ends = [_EDGE + -(side + 2 * _EDGE) % _MULTIPLE for side in size]
    padded = cv2.copyMakeBorder(
        small, _EDGE, ends[1], _EDGE, ends[0], cv2.BORDER_CONSTANT, value=_paper(small)
    )
    found = decode(network(np.asarray(padded, np.uint8)[None])[0])
    found[:, :2] -= _EDGE
    found[:, :4] /= [size[0] / grey.shape[1], size[1] / grey.shape[0]] * 2
    return found


def _paper(small: images.UInt8) -> float:
    """What lies beyond the border: what most of the border is."""
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    return float(np.median(border))


def merged(found: Float, parts: bool = False) -> Float:
    """Of boxes of one sign the most likely one; see ``find``."""
    found = found[np.argsort(-found[:, 4:].max(axis=1), kind="stable")]
    digit = found[:, 4] > found[:, 5]
    same, held = close(overlap, found, _SAME), close(inside, found, WITHIN)
    gone = np.zeros(len(found), bool)
    for place in range(len(found)):
        if not gone[place]:
            gone[same[place][same[place] > place]] = True
            if digit[place] and not parts:
                less = held[place][held[place] > place]
                gone[less[digit[less]]] = True
    return found[~gone]


def whole(found: Float) -> NDArray[np.bool_]:
    """Which signs (N, 6), the most likely first, are no digits that lie in likelier ones, or hold
    them."""
    digit = found[:, 4] > found[:, 5]
    held = close(inside, found, WITHIN)
    kept = np.ones(len(found), bool)
    for place in np.flatnonzero(digit).tolist():
        if kept[place]:
            less = held[place][held[place] > place]
            kept[less[digit[less]]] = False
    return kept


def close(
    share: Callable[[Float, Float], Float], boxes: Float, least: float, others: Float | None = None
) -> list[Places]:
    """For each box (N, 4 or more) the places of others that share more than that with it.

    Args:
        share: says how much boxes (N, 4) and (M, 4) share: (N, M).
        boxes, least: see above.
        others: (M, 4 or more); None for the boxes themselves, each but with itself.
    """
    found: list[Places] = []
    for first in range(0, len(boxes), _BLOCK):  # dense pages have thousands
        rows = share(boxes[first : first + _BLOCK], boxes if others is None else others) > least
        if others is None:
            np.fill_diagonal(rows[:, first:], False)
        found += [np.flatnonzero(row) for row in rows]
    return found


def inside(one: Float, other: Float) -> Float:
    """What boxes (N, 4) and (M, 4) share, of the smaller one's area: (N, M)."""
    least = np.minimum(_areas(one)[:, None], _areas(other))
    return np.asarray(_shared(one, other) / np.maximum(least, 1e-6), np.float32)


def _areas(boxes: Float) -> Float:
    return np.asarray(boxes[:, 2] * boxes[:, 3], np.float32)


def _shared(one: Float, other: Float) -> Float:
    """Area that boxes (N, 4) and (M, 4) share: (N, M)."""
    area = np.float32(1)
    for low, side in ((0, 2), (1, 3)):
        start, end = one[:, low, None], (one[:, low] + one[:, side])[:, None]
        first = np.maximum(start, other[:, low])
        last = np.minimum(end, other[:, low] + other[:, side])
        area = area * np.maximum(last - first, 0)
    return np.asarray(area, np.float32)


def decode(answer: Float, least: float = _LEAST) -> Float:
    """Boxes from a network's answer for one image.

    Args:
        answer: (6, rows, columns); see ``dlkit.training.networks.finder``.
        least: what has less chance than this is left out.

    Returns:
        float32 (N, 6): left, top, width and height in pixels, and the chances of a digit and of
        another sign; the most likely first.
    """
    answer = answer.copy()
    answer[1] *= _MARKS
    heat = answer[:2].max(axis=0)
    peak = heat >= cv2.dilate(heat, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(peak & (heat > least))
    x = (columns + 0.5 + answer[2, rows, columns]) * STRIDE
    y = (rows + 0.5 + answer[3, rows, columns]) * STRIDE
    width, height = np.exp(answer[4:6, rows, columns].clip(-4, 4)) * UNIT
    found = np.stack([x - width / 2, y - height / 2, width, height, *answer[:2, rows, columns]], 1)
    return np.asarray(found[np.argsort(-found[:, 4:].max(axis=1), kind="stable")], np.float32)


def overlap(one: Float, other: Float) -> Float:
    """Intersection over union of boxes (N, 4) and (M, 4): (N, M)."""
    both = _shared(one, other)
    union = _areas(one)[:, None] + _areas(other) - both
    return np.asarray(both / np.maximum(union, 1e-6), np.float32)
