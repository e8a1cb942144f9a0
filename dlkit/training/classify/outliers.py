"""Pictures of 28 x 28 that are no digits: what a recogniser must not be sure of.

Trained towards equal probabilities beside the digits (outlier exposure: Hendrycks et al., arXiv
1812.04606), they teach it to say "I do not know" to things that it has never seen.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Random = np.random.Generator

_SIDE = 28
# Those that nobody takes for a digit, however crooked: no O, I, l, S, Z, B, g, q, b, T, J, ...
_LETTERS = "AEFHKMNRWXkmnwx&%@#=*$"
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)


def outliers(count: int, seed: int, digits: UInt8) -> UInt8:
    """Draw what is no digit.

    Args:
        count: how many.
        seed: the same seed draws the same.
        digits: uint8 (N, 28, 28), to take pieces of.

    Returns:
        uint8 (count, 28, 28), 0 to 255, on black.
    """
    random = np.random.default_rng(seed)
    result = np.zeros((count, _SIDE, _SIDE), np.uint8)
    for number in range(count):
        draw = _KINDS[number % len(_KINDS)]
        result[number] = draw(random, digits)
    return result


def _blobs(random: Random, digits: UInt8) -> UInt8:
    canvas = _canvas()
    for _ in range(random.integers(1, 4)):
        centre, axes = _point(random), random.integers(4, 9, 2).tolist()  # thinner is a 1
        grey = int(random.integers(120, 256))
        cv2.ellipse(canvas, centre, axes, float(random.uniform(0, 180)), 0, 360, grey, -1,
                    cv2.LINE_AA)  # fmt: skip
    return canvas


def _strokes(random: Random, digits: UInt8) -> UInt8:
    """A scribble of many straight strokes: few of them may look like a digit."""
    canvas = _canvas()
    points = random.integers(3, 25, (random.integers(6, 11), 1, 2)).astype(np.int32)
    thick = int(random.integers(1, 3))
    cv2.polylines(canvas, [points], bool(random.integers(2)), 255, thick, cv2.LINE_AA)
    return canvas


def _dots(random: Random, digits: UInt8) -> UInt8:
    canvas = _canvas()
    for _ in range(random.integers(2, 12)):
        cv2.circle(canvas, _point(random), int(random.integers(0, 3)), 255, -1, cv2.LINE_AA)
    return canvas


def _noise(random: Random, digits: UInt8) -> UInt8:
    mean, deviation = random.uniform(0, 120), random.uniform(20, 100)
    field = random.normal(0, 1, (_SIDE, _SIDE)).astype(np.float32)
    if random.integers(2):
        field = np.asarray(cv2.GaussianBlur(field, (0, 0), float(random.uniform(0.6, 3))))
        field /= max(float(field.std()), 1e-6)
    return np.asarray(np.clip(mean + deviation * field, 0, 255), dtype=np.uint8)


def _letter(random: Random, digits: UInt8) -> UInt8:
    canvas = _canvas()
    font, scale = int(random.choice(_FONTS)), float(random.uniform(0.6, 0.95))
    letter, thick = str(random.choice(list(_LETTERS))), int(random.integers(1, 3))
    (width, height), _ = cv2.getTextSize(letter, font, scale, thick)
    corner = ((_SIDE - width) // 2, (_SIDE + height) // 2)
    cv2.putText(canvas, letter, corner, font, scale, 255, thick, cv2.LINE_AA)
    return canvas


def _pieces(random: Random, digits: UInt8) -> UInt8:
    """Halves of two digits side by side, or one above the other, with a gap between the strokes."""
    one, other = digits[random.integers(len(digits), size=2)]
    cut, reach = int(random.integers(11, 17)), int(random.integers(7, 11))
    canvas = np.zeros_like(one)
    canvas[:, :cut] = np.roll(one, -reach, axis=1)[:, :cut]
    canvas[:, cut:] = np.roll(other, reach, axis=1)[:, cut:]
    return canvas if random.integers(4) else np.ascontiguousarray(canvas.T)


def _pair(random: Random, digits: UInt8) -> UInt8:
    """Two digits that touch, in the form of one: what a page's reader must cut."""
    left, right = (_trimmed(one) for one in digits[random.integers(len(digits), size=2)])
    overlap = int(random.integers(0, 4))
    canvas = np.zeros((_SIDE, left.shape[1] + right.shape[1] - overlap), np.uint8)
    for one, edge in ((left, 0), (right, left.shape[1] - overlap)):
        drop = int(random.integers(_SIDE - len(one) + 1)) if random.integers(2) else 4
        drop = min(drop, _SIDE - len(one))
        part = canvas[drop : drop + len(one), edge : edge + one.shape[1]]
        np.maximum(part, one, out=part)
    canvas = _trimmed(canvas)
    scale = 20 / max(canvas.shape)  # MNIST's box
    size = [max(1, round(side * scale)) for side in canvas.shape[::-1]]
    small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    across, down = _SIDE - size[0], _SIDE - size[1]
    return np.pad(small, ((down // 2, -(-down // 2)), (across // 2, -(-across // 2))))


def _corner(random: Random, digits: UInt8) -> UInt8:
    """A digit of which hardly anything is in sight."""
    shift = random.integers(14, 18, 2) * random.choice([-1, 1], 2)
    shift[random.integers(2)] *= int(random.integers(2))
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    return np.asarray(cv2.warpAffine(digits[random.integers(len(digits))], matrix, (_SIDE, _SIDE)),
                      dtype=np.uint8)  # fmt: skip


def _empty(random: Random, digits: UInt8) -> UInt8:
    """Nothing, a frame, or a box."""
    canvas = _canvas()
    canvas[:] = random.integers(0, 100)
    if random.integers(2):
        top, left = (int(value) for value in random.integers(0, 8, 2))
        bottom, right = (int(value) for value in random.integers(18, 28, 2))
        thick = int(random.choice([-1, 1, 2]))
        cv2.rectangle(canvas, (left, top), (right, bottom), int(random.integers(120, 256)), thick)
    return canvas


def _texture(random: Random, digits: UInt8) -> UInt8:
    """A grating or a checkerboard."""
    line = np.arange(_SIDE, dtype=np.float32)
    angle, period = random.uniform(0, np.pi), random.uniform(3, 10)
    waves = np.sin(2 * np.pi * (line[:, None] * np.cos(angle) + line * np.sin(angle)) / period)
    if random.integers(2):
        waves = waves * np.sin(2 * np.pi * (line[:, None] * np.sin(angle) - line * np.cos(angle))
                               / period)  # fmt: skip
    sharp = np.clip(waves * random.uniform(1, 6), -1, 1)
    return np.asarray((sharp + 1) * random.uniform(60, 120), dtype=np.uint8)


def _crowd(random: Random, digits: UInt8) -> UInt8:
    """Three or more digits, one on top of the other."""
    chosen = digits[random.integers(len(digits), size=int(random.integers(3, 5)))]
    moved = [np.roll(one, random.integers(-5, 6, 2), axis=(0, 1)) for one in chosen]
    return np.asarray(np.max(moved, axis=0), dtype=np.uint8)


_KINDS: tuple[Callable[[Random, UInt8], UInt8], ...] = (
    _blobs, _strokes, _dots, _noise, _letter, _letter, _pieces, _pair, _pair, _corner, _empty,
    _texture, _crowd,
)  # fmt: skip


def _trimmed(image: UInt8) -> UInt8:
    """What has ink."""
    x, y, width, height = cv2.boundingRect((image > 40).astype(np.uint8))
    return image[y : y + max(1, height), x : x + max(1, width)]


def _canvas() -> UInt8:
    return np.zeros((_SIDE, _SIDE), np.uint8)


def _point(random: Random) -> tuple[int, int]:
    x, y = random.integers(4, 24, 2)
    return int(x), int(y)
