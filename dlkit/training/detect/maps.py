"""What a detector is to say of a scan: centres, distances to the boxes' sides, masks."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.mmwave.concealment import Observed, box_around
from dlkit.tasks.detect.decode import STRIDE, UNIT

Float = NDArray[np.float32]
_SPREAD, _OF_SIZE = 2.2, 0.1  # pixels, and of the box's size: of a centre's Gaussian
_LEAST = 0.02  # of a centre's Gaussian: where it is less, no box is asked for
_LEFT_OVER = 0.5  # share of an object that a crop keeps, at least
_NOISE = 6.0  # grey levels by which a scan is made brighter or darker, and 0.06 of contrast


class Maps(NamedTuple):
    """A batch.

    Attributes:
        pixels: uint8 (N, H, W).
        heat: (N, rows, columns), 1 at the centres, less around, 0 outside the boxes.
        mask: (N, rows, columns), share of each cell that is an object.
        sides: (N, 4, rows, columns), ln of the distances to the box's sides in parts of 16 pixels.
    """

    pixels: NDArray[np.uint8]
    heat: Float
    mask: Float
    sides: Float


def draw(found: list[Observed], multiple_of: int) -> Maps:
    """Maps of scans of one size."""
    pixels = np.stack([images.pad(one.noisy, multiple_of) for one in found])
    count, height, width = pixels.shape
    cells = (height // STRIDE, width // STRIDE)
    maps = Maps(pixels, *(np.zeros((count, *parts, *cells), np.float32)
                          for parts in ((), (), (4,))))  # fmt: skip
    for place, one in enumerate(found):
        whole = np.zeros((height, width), np.float32)
        whole[: one.labels.shape[0], : one.labels.shape[1]] = one.labels > 0
        maps.mask[place] = cv2.resize(whole, cells[::-1], interpolation=cv2.INTER_AREA)
        for hidden in one.hidden:
            _mark(maps, place, hidden.box)
    return maps


def jittered(random: np.random.Generator, noisy: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A scan as another display would show it: a little brighter, or of less contrast."""
    gain, more = 1 + random.uniform(-1, 1) * _NOISE / 100, random.uniform(-1, 1) * _NOISE
    table = ((np.arange(256) - 127) * gain + 127 + more).round().clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(noisy, table), np.uint8)


def mirrored(one: Observed) -> Observed:
    """Left is right."""
    whole = one.noisy.shape[1]
    hidden = [replace(thing, box=(whole - thing.box[0] - thing.box[2], *thing.box[1:]))
              for thing in one.hidden]  # fmt: skip
    noisy, labels = (np.ascontiguousarray(side[:, ::-1]) for side in (one.noisy, one.labels))
    body = np.ascontiguousarray(one.body[:, ::-1])
    return Observed(noisy, labels, body, hidden, one.unseen)


def cropped(random: np.random.Generator, one: Observed, width: int) -> Observed:
    """Columns of a scan with as much of the person as fits, anywhere where nobody is; what is cut
    to less than half is hidden no more."""
    whole = one.noisy.shape[1]
    if not 0 < width < whole:
        return one
    columns = np.flatnonzero(one.body.any(axis=0))
    first, last = (columns[0], columns[-1] + 1) if len(columns) else (0, whole)
    low, high = sorted((int(first), int(last) - width))  # so wide is nobody, or all is person
    left = int(np.clip(random.integers(low - 8, high + 9), 0, whole - width))
    cut = np.s_[:, left : left + width]
    labels = np.zeros_like(one.labels[cut])
    hidden = []
    for number, thing in enumerate(one.hidden, start=1):
        here = one.labels == number
        left_over = here[cut]
        if left_over.sum() >= _LEFT_OVER * here.sum():
            hidden.append(replace(thing, box=box_around(left_over)))
            labels[left_over] = len(hidden)
    return Observed(one.noisy[cut], labels, one.body[cut], hidden, one.unseen)


def _mark(maps: Maps, place: int, box: tuple[int, int, int, int]) -> None:
    left, top, width, height = box
    x, y = left + width / 2, top + height / 2
    rows, columns = maps.heat.shape[1:]
    across = (np.arange(columns, dtype=np.float32) + 0.5) * STRIDE - x
    down = (np.arange(rows, dtype=np.float32) + 0.5) * STRIDE - y
    spread = (_SPREAD + _OF_SIZE * width, _SPREAD + _OF_SIZE * height)
    near = np.exp(-((across / spread[0]) ** 2)[None] / 2 - ((down / spread[1]) ** 2)[:, None] / 2)
    near[min(int(y / STRIDE), rows - 1), min(int(x / STRIDE), columns - 1)] = 1
    within = (np.abs(across) < width / 2)[None] & (np.abs(down) < height / 2)[:, None]
    near *= (within & (near >= _LEAST)) | (near == 1)
    mine = near > maps.heat[place]
    maps.heat[place][mine] = near[mine]
    distances = (across[None] + width / 2, down[:, None] + height / 2,
                 width / 2 - across[None], height / 2 - down[:, None])  # fmt: skip
    for side, distance in enumerate(distances):
        far = np.log(np.maximum(np.broadcast_to(distance, mine.shape)[mine], 1.0) / UNIT)
        maps.sides[place, side][mine] = far
