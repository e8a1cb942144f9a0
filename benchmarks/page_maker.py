"""Pages and photographs of digits, made from MNIST's, with what is written on them.

Everything follows from the random generator that is given, so a seed gives the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.idx import read_idx

Float = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

MOST_DEGREES = 10.0
_INK_HEIGHT = 20  # pixels of MNIST's 28 that a digit fills
_FAINT = 40  # of 255: fainter pixels of MNIST's are no ink


@dataclass(frozen=True)
class Digits:
    """MNIST's digits.

    Attributes:
        images: uint8 (N, 28, 28), bright on black.
        labels: (N,), 0 to 9.
    """

    images: UInt8
    labels: UInt8


@dataclass(frozen=True)
class Page:
    """A made page.

    Attributes:
        image: uint8 (H, W, 3) BGR.
        lines: what is written in each line from the top; numbers are separated by a space.
        touching: how many pairs of digits touch.
    """

    image: UInt8
    lines: tuple[str, ...]
    touching: int


def load(folder: Path, part: str = "t10k") -> Digits:
    """The test (``t10k``) or training (``train``) digits from MNIST's files in a folder."""
    for place in (folder / "MNIST" / "raw", folder):
        found = [sorted(place.glob(f"{part}-{kind}*")) for kind in ("images-idx3", "labels-idx1")]
        if all(found):
            return Digits(*(read_idx(paths[0]) for paths in found))
    raise SystemExit(f"{folder} has no {part}-images-idx3-ubyte: expected MNIST's files there")


def make_page(digits: Digits, random: np.random.Generator, touching: float = 0.06) -> Page:
    """A page of some lines of numbers.

    Args:
        touching: share of neighbouring pairs that touch.
    """
    width, height = int(random.integers(900, 1601)), int(random.integers(700, 1201))
    angle = random.uniform(-MOST_DEGREES, MOST_DEGREES)
    slope = abs(np.sin(np.radians(angle)))
    # What rotates about the middle must stay on the paper.
    left, top = int(30 + height / 2 * slope), int(30 + width / 2 * slope)
    ink = np.zeros((height, width), np.float32)
    size = random.uniform(22, 56)
    lines, pairs, y = [], 0, float(top)
    strength = random.uniform(0.4, 0.95)
    while len(lines) < 12:
        tall = size * random.uniform(0.8, 1.25)
        if y + tall * 1.3 > height - top:
            break
        text, met = _line(ink, digits, random, (left, width - left), y, tall, strength, touching)
        lines.append(text)
        pairs += met
        y += tall * random.uniform(1.5, 2.4)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    ink = cv2.warpAffine(ink, turn, (width, height), flags=cv2.INTER_CUBIC)
    return Page(photograph(ink.clip(0, 1), random), tuple(lines), pairs)


def make_single(image: UInt8, random: np.random.Generator) -> UInt8:
    """A photograph of one digit: anywhere, of any size, dark on light or bright on dark, BGR."""
    width, height = (int(side) for side in random.integers(120, 701, 2))
    tall = min(width, height) * random.uniform(0.25, 0.8)
    glyph = _glyph(image, tall, random)
    turn = cv2.getRotationMatrix2D(
        (glyph.shape[1] / 2, glyph.shape[0] / 2), random.uniform(-8, 8), 1.0
    )
    room = int(0.1 * max(glyph.shape)) + 2
    turn[:, 2] += room
    sides = (glyph.shape[1] + 2 * room, glyph.shape[0] + 2 * room)
    glyph = cv2.warpAffine(glyph, turn, sides, flags=cv2.INTER_CUBIC).clip(0, 1)
    ys, xs = (glyph > 0.3).any(1).nonzero()[0], (glyph > 0.3).any(0).nonzero()[0]
    glyph = glyph[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    glyph = glyph[: height - 4, : width - 4]
    y = int(random.integers(2, height - glyph.shape[0] - 1))
    x = int(random.integers(2, width - glyph.shape[1] - 1))
    ink = np.zeros((height, width), np.float32)
    ink[y : y + glyph.shape[0], x : x + glyph.shape[1]] = glyph
    return photograph(ink * random.uniform(0.4, 0.95), random, bright=random.random() < 0.25)


def photograph(ink: Float, random: np.random.Generator, bright: bool = False) -> UInt8:
    """Ink (H, W), 0 to 1, on coloured paper, unevenly lit, blurred, noisy, through JPEG; BGR.

    Args:
        bright: chalk on a dark board in place of ink on paper.
    """
    paper = random.uniform(0.75, 1.0) * (1 - random.uniform(0, 0.25, 3) * (random.random() < 0.5))
    pen = random.uniform(0.0, 0.15) + random.uniform(0, 0.25, 3) * (random.random() < 0.5)
    if bright:
        paper, pen = pen, paper
    scene = paper + ink[:, :, None] * (pen - paper)
    scene = scene * light(ink.shape, random)[:, :, None]
    scene = cv2.GaussianBlur(scene, (0, 0), random.uniform(0.3, 1.2))
    scene = scene * 255 + random.normal(0, random.uniform(1, 9), scene.shape)
    pixels = scene.round().clip(0, 255).astype(np.uint8)
    quality = int(random.integers(50, 96))
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)


def light(shape: tuple[int, ...], random: np.random.Generator) -> Float:
    """Uneven light (H, W), up to 1: a gradient, a vignette, a shadow with a soft or hard edge."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    angle = random.uniform(0, 2 * np.pi)
    across = np.cos(angle) * x + np.sin(angle) * y
    whole = 1 - random.uniform(0, 0.5) * (across + 1.42) / 2.84
    if random.random() < 0.5:
        whole = whole * (1 - random.uniform(0.1, 0.45) * (x**2 + y**2) / 2)
    if random.random() < 0.5:
        angle = random.uniform(0, 2 * np.pi)
        edge = np.cos(angle) * x + np.sin(angle) * y - random.uniform(-0.7, 0.7)
        softness = random.choice([0.01, 0.05, 0.2])
        whole = whole * (1 - random.uniform(0.15, 0.5) / (1 + np.exp(-edge / softness)))
    return np.asarray(whole, np.float32)


def _line(
    ink: Float,
    digits: Digits,
    random: np.random.Generator,
    between: tuple[int, int],
    y: float,
    tall: float,
    strength: float,
    touching: float,
) -> tuple[str, int]:
    """Write one line; gives its text and how many pairs touch."""
    x, text, pairs, before = float(between[0]), "", 0, None
    strength *= random.uniform(0.8, 1.05)
    words = [int(random.integers(2, 7)) for _ in range(int(random.integers(1, 5)))]
    for word in words:
        for place in range(word):
            index = int(random.integers(len(digits.images)))
            glyph = _glyph(digits.images[index], tall, random)
            top = int(y + tall - glyph.shape[0] + tall * random.uniform(-0.06, 0.06))
            if place and before is not None and random.random() < touching:
                x = _meet(ink, glyph, top, before, x)
                met = 1
            else:
                met = 0
                if text:
                    gap = random.uniform(0.12, 0.4) if place else random.uniform(1.3, 2.2)
                    x += tall * gap
            if x + glyph.shape[1] > between[1]:
                return text.rstrip(), pairs
            left = int(x)
            spot = ink[top : top + glyph.shape[0], left : left + glyph.shape[1]]
            np.maximum(spot, glyph * min(strength, 1.0), out=spot)
            text += (" " if text and not place else "") + str(int(digits.labels[index]))
            pairs += met
            before, x = left, float(left + glyph.shape[1])
    return text, pairs


def _meet(ink: Float, glyph: Float, top: int, left: int, right: float) -> float:
    """Where a glyph must begin so that its ink just runs into that between left and right."""
    end = int(right)
    there = ink[top : top + glyph.shape[0], left:end] > 0.2
    ours = glyph > 0.5
    gaps = [
        (end - left - 1 - row.nonzero()[0][-1]) + mine.nonzero()[0][0]
        for row, mine in zip(there, ours, strict=True)
        if row.any() and mine.any()
    ]
    return right - (min(gaps) if gaps else 0) - max(1.0, 0.04 * glyph.shape[0])


def _glyph(image: UInt8, tall: float, random: np.random.Generator) -> Float:
    """A digit's ink (H, W), 0 to 1, cropped, with edges as sharp as a pen's."""
    ys, xs = (image > _FAINT).any(1).nonzero()[0], (image > _FAINT).any(0).nonzero()[0]
    image = cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    cut = image[ys[0] : ys[-1] + 3, xs[0] : xs[-1] + 3].astype(np.float32) / 255
    scale = tall / _INK_HEIGHT
    size = tuple(max(2, round(side * scale)) for side in cut.shape[::-1])
    large = cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC)
    level = random.uniform(0.3, 0.6)  # a lower one gives a thicker pen
    return np.asarray(((large - level) / 0.3 + 0.5).clip(0, 1), np.float32)
