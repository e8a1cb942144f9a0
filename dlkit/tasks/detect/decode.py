"""Objects from a network's maps: peaks, boxes, masks; the same whatever ran the network."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

STRIDE = 4  # pixels of a cell of the maps
UNIT = 16.0  # pixels: distances to the sides are given as natural logarithms of parts of it
LEAST = 0.02  # chance: what is less is nothing, whatever the sensitivity
_SAME = 0.45  # intersection over union: two boxes of one object
_MOST = 1000  # peaks: no scan hides so much, and noise has one in every ninth cell
_LARGEST = 4.0  # logarithm of a distance: 870 pixels
_AT_ONCE = 64  # boxes that are compared: all would take gigabytes
INSIDE = 0.5  # chance from which a pixel belongs to an object
_PART = 0.3  # chance from which a cell belongs to a part of the mask
_ON_PART = 0.35  # intersection over union of a box and the part that it lies on
_TOWARDS = 0.5  # of the way from the box to the part


def decode(answer: NDArray[Any], size: tuple[int, int], least: float = LEAST) -> Float:
    """Boxes from a network's answer for one scan.

    Args:
        answer: floats (6, rows, columns): the chance of an object's centre, that of an object, and
            ln(d / 16) of the distances d, in pixels, from the middle of the cell to the left, top,
            right and bottom of the box.
        size: height and width of the scan; what is padded lies beyond.
        least: what has less chance than this is left out.

    Returns:
        float32 (N, 5): left, top, width and height in pixels, inside the scan, and the chance; the
        most likely first.
    """
    height, width = size
    answer = np.asarray(answer, np.float32)
    heat = np.ascontiguousarray(answer[0])
    peak = heat >= np.asarray(cv2.dilate(heat, np.ones((3, 3), np.uint8)))
    rows, columns = _likeliest(heat, peak & (heat >= least))
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    sides = np.exp(answer[2:6, rows, columns].clip(-_LARGEST, _LARGEST)) * UNIT
    left, top = (x - sides[0]).clip(0, width), (y - sides[1]).clip(0, height)
    right, bottom = (x + sides[2]).clip(0, width), (y + sides[3]).clip(0, height)
    found = np.stack([left, top, right - left, bottom - top, heat[rows, columns]], axis=1)
    found = found[(found[:, 2:4] > 0).all(axis=1)]
    found = found[np.argsort(-found[:, 4], kind="stable")].astype(np.float32)
    return _distinct(_by_parts(found, _parts(answer[1], size)))


def _likeliest(heat: Float, peak: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows and columns of peaks in the order of the map: of those that touch, and so are equally
    high, the first one; at most ``_MOST``."""
    _, plateaus = cv2.connectedComponents(peak.astype(np.uint8))
    rows, columns = np.nonzero(peak)
    _, first = np.unique(plateaus[rows, columns], return_index=True)
    first = np.sort(first)
    if len(first) > _MOST:
        order = np.argsort(-heat[rows[first], columns[first]], kind="stable")
        first = np.sort(first[order[:_MOST]])
    return rows[first], columns[first]


def _parts(chance: Float, size: tuple[int, int]) -> Float:
    """Boxes around connected parts of the mask, inside the scan: (M, 4)."""
    rows, columns = chance.shape
    fine = cv2.resize(chance, (2 * columns, 2 * rows), interpolation=cv2.INTER_LINEAR)
    step = STRIDE // 2
    fine = fine[: -(-size[0] // step), : -(-size[1] // step)]
    _, _, statistics, _ = cv2.connectedComponentsWithStats((fine >= _PART).astype(np.uint8))
    boxes = statistics[1:, :4].astype(np.float32) * step
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], (size[1], size[0]))
    return np.asarray(np.concatenate([boxes[:, :2], ends - boxes[:, :2]], axis=1), np.float32)


def _by_parts(found: Float, parts: Float) -> Float:
    """Boxes that lie on a part of the mask, moved towards its sides: masks know them better."""
    for at in range(0, len(found) if len(parts) else 0, _AT_ONCE):
        block = found[at : at + _AT_ONCE, :4]
        shared = overlap(block, parts)
        best = shared.argmax(axis=1)
        on = shared[np.arange(len(block)), best] >= _ON_PART
        block[on] += _TOWARDS * (parts[best[on]] - block[on])
    return found


def _distinct(found: Float) -> Float:
    """Of boxes of one object the most likely one."""
    gone = np.zeros(len(found), bool)
    for at in range(0, len(found), _AT_ONCE):
        same = overlap(found[at : at + _AT_ONCE, :4], found[:, :4]) > _SAME
        for place in range(at, at + len(same)):
            if not gone[place]:
                gone[place + 1 :] |= same[place - at, place + 1 :]
    return found[~gone]


def overlap(one: Float, other: Float) -> Float:
    """Intersection over union of boxes (N, 4) and (M, 4), left, top, width and height: (N, M)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:4])[:, None], (other[:, :2] + other[:, 2:4])[None])
    both = (high - low).clip(0).prod(axis=2)
    union = one[:, 2:4].prod(axis=1)[:, None] + other[:, 2:4].prod(axis=1)[None] - both
    return np.asarray(both / np.maximum(union, 1e-6), np.float32)


def mask_of(answer: NDArray[Any], box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Which pixels of a box, left, top, width and height, are the object: bool (height, width)."""
    left, top, width, height = box
    chance = np.ascontiguousarray(answer[1], np.float32)
    # the middle of cell k is at pixel (k + 1/2) * STRIDE - 1/2
    columns = (np.arange(left, left + width, dtype=np.float32) + 0.5) / STRIDE - 0.5
    rows = (np.arange(top, top + height, dtype=np.float32) + 0.5) / STRIDE - 0.5
    shape = (height, width)
    fine = cv2.remap(
        chance, np.broadcast_to(columns[None], shape).copy(),
        np.broadcast_to(rows[:, None], shape).copy(), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(fine) > INSIDE
