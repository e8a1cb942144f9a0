"""Crops of simulated pages, and what a finder is to say of them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.paper import Digits, Page, camera, simulate
from dlkit.reading.finder import STRIDE, UNIT

Float = NDArray[np.float32]

# Pixels of a digit: what is smaller or larger is another scale's to find, and none here; between
# these and those it may be found or not.
SMALLEST, LARGEST = 8.0, 80.0
_TOO_SMALL, _TOO_LARGE = 6.0, 110.0
# Heights of digits in crops, and how often they are so.
_TALL = (((9.0, 72.0), 0.8), ((72.0, 300.0), 0.13), ((4.0, 9.0), 0.07))
_VISIBLE = 0.55  # of a sign: what shows less of itself is neither right nor wrong
_NOTHING = 0.06  # of the crops: noise, gradients and desks, on which there is nothing to find
_KINDS = ("any", "any", "any", "any", "form", "marks", "desk")  # of pages


class Crops(NamedTuple):
    """A batch.

    Attributes:
        pixels: uint8 (N, side, side).
        heat: (N, 2, rows, columns), 1 at the centres of digits and other signs, less around.
        weight: (N, 2, rows, columns), 0 where nobody can say.
        boxes: (N, 4, rows, columns), what the finder gives for boxes.
        inside: (N, 1, rows, columns), 1 where a box is asked for.
        truth: of each crop, rows of left, top, width, height and 1 for a digit.
    """

    pixels: NDArray[np.uint8]
    heat: Float
    weight: Float
    boxes: Float
    inside: Float
    truth: list[Float]


def crops(random: np.random.Generator, digits: Digits, count: int, side: int, each: int) -> Crops:
    """Draw a batch.

    Args:
        count: crops.
        side: pixels, a multiple of 16.
        each: crops of a page.
    """
    cells = side // STRIDE
    heat = np.zeros((count, 2, cells, cells), np.float32)
    found = Crops(
        np.zeros((count, side, side), np.uint8), heat, np.ones_like(heat),
        np.zeros((count, 4, cells, cells), np.float32),
        np.zeros((count, 1, cells, cells), np.float32), [],
    )  # fmt: skip
    page = None
    for place in range(count):
        if place % each == 0 or page is None:
            tall = float(random.uniform(18, 50))
            shape = (int(random.integers(420, 700)), int(random.integers(480, 900)))
            touching = float(random.choice([0.0, 0.08]))
            kind = str(random.choice(_KINDS))
            page = simulate(random, digits, kind, size=shape, tall=tall, touching=touching)
        if random.random() < _NOTHING:
            pixels, truth, line = _nothing(random, side), np.zeros((0, 5), np.float32), 0.0
        else:
            pixels, truth, line = _cut(random, page, tall, side)
        found.pixels[place] = pixels
        found.truth.append(truth)
        _mark(found, place, truth, line, side)
    return found


def _cut(
    random: np.random.Generator, page: Page, tall: float, side: int
) -> tuple[NDArray[np.uint8], Float, float]:
    """A square of a page at some scale, the signs in it, and the height of its digits."""
    span = _TALL[int(random.choice(len(_TALL), p=[share for _, share in _TALL]))][0]
    scale = float(np.exp(random.uniform(*np.log(span)))) / tall
    image = page.image
    if random.random() < 0.85:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    else:  # along any axis of colour
        weights = random.uniform(0, 1, 3)
        grey = cv2.transform(image, (weights / weights.sum())[None])
    if random.random() < 0.3:
        grey = cv2.convertScaleAbs(grey, alpha=random.uniform(0.3, 1.0),
                                   beta=random.uniform(0, 60))  # fmt: skip
    signs = np.array([(*sign.box, sign.is_digit) for sign in page.signs], np.float32).reshape(-1, 5)
    line = tall * scale
    height, width = grey.shape
    if len(signs) and random.random() < 0.9:
        x, y = (
            signs[int(random.integers(len(signs))), :2]
            + random.uniform(-0.5, 0.5, 2) * side / scale
        )
    else:
        x, y = random.uniform(0, 1, 2) * [width, height]
    if random.random() < 0.8:  # inside of the page where it is large enough
        half = side / scale / 2
        x = float(np.clip(x, min(half, width / 2), max(width - half, width / 2)))
        y = float(np.clip(y, min(half, height / 2), max(height - half, height / 2)))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        x, y, signs[:, :4], scale = x * scale, y * scale, signs[:, :4] * scale, 1.0
    matrix = np.array([[scale, 0, side / 2 - scale * x], [0, scale, side / 2 - scale * y]])
    border = int(random.choice([cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT]))
    pixels = cv2.warpAffine(grey, matrix, (side, side), flags=cv2.INTER_LINEAR,
                            borderMode=border, borderValue=float(np.median(grey)))  # fmt: skip
    truth = signs.copy()
    truth[:, :2] = signs[:, :2] * scale + matrix[:, 2]
    truth[:, 2:4] = signs[:, 2:4] * scale
    there = (truth[:, :2] < side).all(1) & (truth[:, :2] + truth[:, 2:4] > 0).all(1)
    return np.asarray(pixels, np.uint8), truth[there], line


def _nothing(random: np.random.Generator, side: int) -> NDArray[np.uint8]:
    if random.random() < 0.5:
        canvas = camera.desk(random, (2 * side, 2 * side))
        camera.things(random, canvas)
        canvas = canvas[: int(side * random.uniform(0.3, 2)), : int(side * random.uniform(0.3, 2))]
        grey = cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY)
        return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    noise = random.normal(0, 1, (side, side)).astype(np.float32)
    if random.random() < 0.5:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), random.uniform(0.5, 8)))
        noise /= max(float(noise.std()), 1e-6)
    slope = np.linspace(-1, 1, side, dtype=np.float32) * random.uniform(-100, 100)
    field = random.uniform(0, 255) + noise * random.uniform(0, 90) + slope
    return np.asarray(field.clip(0, 255), np.uint8)


def _mark(found: Crops, place: int, truth: Float, line: float, side: int) -> None:
    """Write what the finder is to say of one crop."""
    cells = side // STRIDE
    rows = (np.arange(cells, dtype=np.float32) + 0.5) * STRIDE
    for left, top, width, height, digit in truth.tolist():
        low_x, low_y = max(left, 0.0), max(top, 0.0)
        wide, high = min(left + width, side) - low_x, min(top + height, side) - low_y
        kind = 0 if digit else 1
        size = max(width, height)
        seen = wide * high / max(width * height, 1e-3)
        large, small = (size, size) if digit else (max(size, line), line)
        if large >= _TOO_LARGE or small <= _TOO_SMALL:
            continue
        if seen < _VISIBLE or large > LARGEST or small < SMALLEST:
            ends = [int(v) // STRIDE for v in (low_x, low_x + wide, low_y, low_y + high)]
            found.weight[place, :, ends[2] : ends[3] + 1, ends[0] : ends[1] + 1] = 0
            continue
        x, y = low_x + wide / 2, low_y + high / 2
        spread_x, spread_y = 2.2 + 0.1 * wide, 2.2 + 0.1 * high
        column, row = (min(int(v / STRIDE), cells - 1) for v in (x, y))
        far = max(2, int(3 * max(spread_x, spread_y) / STRIDE) + 1)
        top_row, left_column = max(row - far, 0), max(column - far, 0)
        window = (slice(top_row, row + far + 1), slice(left_column, column + far + 1))
        dx, dy = rows[window[1]] - x, rows[window[0]] - y
        near = np.exp(-((dx / spread_x) ** 2)[None] / 2 - ((dy / spread_y) ** 2)[:, None] / 2)
        spot = found.heat[place, kind][window]
        np.maximum(spot, near, out=spot)
        found.heat[place, kind, row, column] = 1
        inside = (np.abs(dx) < max(STRIDE * 0.75, 0.2 * wide))[None] & (
            np.abs(dy) < max(STRIDE * 0.75, 0.2 * high)
        )[:, None]
        spot = found.boxes[place][:, window[0], window[1]]
        spot[0][inside] = np.broadcast_to(-dx[None] / STRIDE, inside.shape)[inside]
        spot[1][inside] = np.broadcast_to(-dy[:, None] / STRIDE, inside.shape)[inside]
        spot[2][inside] = np.log(max(wide, 1.0) / UNIT)
        spot[3][inside] = np.log(max(high, 1.0) / UNIT)
        found.inside[place, 0][window][inside] = 1
