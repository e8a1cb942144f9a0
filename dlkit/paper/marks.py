"""Signs that are no digits: points, commas, signs of arithmetic, letters, words, scribbles."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from dlkit.paper.page import OTHER, Random, UInt8
from dlkit.paper.pens import drawn, trimmed

BETWEEN = ".,-/:"  # stand between digits
BEFORE = "-+("
BEHIND = "%)"
JOINING = "+=-"
_WORDS = ("EUR", "USD", "Euro", "kg", "cm", "mm", "km", "pcs", "Stk", "Mai", "units", "Total")
_LETTERS = "ACDEFGHJKLMNPRTUVWXYabdefhkmnprtwxyz&#@*"
_WOBBLE = 0.09  # of the digits' height: how far parts of a letter are shifted at most
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)


class Mark(NamedTuple):
    """A drawn sign.

    Attributes:
        text: its character, ``OTHER`` for a letter, a word or a scribble.
        ink: uint8 (H, W), cropped to it.
        top: of its ink below the top of the digits beside it, in pixels.
    """

    text: str
    ink: UInt8
    top: float


def mark(random: Random, text: str, tall: float, width: float) -> Mark:
    """Draw a sign beside digits of ``tall`` pixels with a pen of ``width`` pixels."""
    if text == OTHER:
        return (
            _scribble(random, tall, width)
            if random.random() < 0.3
            else letter(random, str(random.choice(list(_LETTERS))), tall, width)
        )
    if text in ".:":
        return _dots(random, text, tall, width)
    lines = [np.asarray(line, np.float64) for line in _lines(random, text)]
    points, edges, count = [], [], 0
    tilt = random.normal(0, 0.05)
    for line in lines:
        points.append(line @ np.array([[1, tilt], [-tilt, 1]]) * tall)
        edges.append(count + np.stack([np.arange(len(line) - 1), np.arange(1, len(line))], 1))
        count += len(line)
    joined = np.concatenate(points).astype(np.float32)
    ink = drawn(joined, np.concatenate(edges), width)
    return Mark(text, ink, float(joined[:, 1].min()) - width / 2)


def _lines(random: Random, text: str) -> list[list[tuple[float, float]]]:
    """Strokes in heights of a digit, x to the right and y down, from the top of the digits."""
    u = random.uniform
    if text == ",":
        long, at = u(0.14, 0.38), u(0.82, 1.02)
        lean, bow = u(0.0, 0.7), u(-0.05, 0.08)
        return [[(lean * long, at), (0.5 * lean * long + bow, at + long / 2), (0, at + long)]]
    if text in "-=":
        long, at = u(0.28, 0.65), u(0.42, 0.62)
        gap = u(0.16, 0.3) if text == "=" else 0.0
        rows = [at - gap / 2, at + gap / 2] if gap else [at]
        return [[(0, row), (long, row + u(-0.03, 0.03))] for row in rows]
    if text == "+":
        long, at = u(0.4, 0.75), u(0.45, 0.6)
        return [[(0, at), (long, at)], [(long / 2, at - long / 2), (long / 2, at + long / 2)]]
    if text == "/":
        return [[(u(0.35, 0.6), u(-0.12, 0.02)), (0, u(0.98, 1.15))]]
    if text in "()":
        deep, turns = u(0.12, 0.3), np.linspace(-1.25, 1.25, 9)
        side = -1 if text == "(" else 1
        tall = u(1.05, 1.3)
        return [[(side * deep * np.cos(t) * 1.4, 0.5 + np.sin(t) * tall / 1.9) for t in turns]]
    if text == "%":
        round_ = [(np.cos(t), np.sin(t)) for t in np.linspace(0, 2 * np.pi, 10)]
        size, wide = u(0.09, 0.17), u(0.5, 0.8)
        return [
            [(wide, u(-0.02, 0.06)), (u(0, 0.15), u(0.94, 1.02))],
            [(0.12 + size * x, 0.22 + size * y) for x, y in round_],
            [(wide - 0.02 + size * x, 0.8 + size * y) for x, y in round_],
        ]
    raise ValueError(text)


def _dots(random: Random, text: str, tall: float, width: float) -> Mark:
    radius = max(0.9, width * random.uniform(0.55, 0.95), tall * random.uniform(0.02, 0.06))
    gap = tall * random.uniform(0.35, 0.55) if text == ":" else 0.0
    at = tall * random.uniform(0.88, 1.03) - gap
    side = int(2 * radius + 5)
    canvas = np.zeros((int(side + gap) * 4, side * 4), np.uint8)
    for y in [0.0, gap] if gap else [0.0]:
        centre = (round(side * 32), round((side / 2 + y) * 64))
        cv2.ellipse(
            canvas, (centre[0] >> 4, centre[1] >> 4),
            (round(radius * 4), round(radius * 4 * random.uniform(0.75, 1.2))),
            0, 0, 360, 255, -1,
        )  # fmt: skip
    ink = trimmed(np.asarray(cv2.resize(canvas, None, fx=0.25, fy=0.25,
                                        interpolation=cv2.INTER_AREA), np.uint8))  # fmt: skip
    return Mark(text, ink, at - radius)


def word(random: Random, tall: float, width: float) -> Mark:
    """A unit or the like, or a few letters."""
    if random.random() < 0.6:
        return letter(random, str(random.choice(_WORDS)), tall, width)
    letters = random.choice(list(_LETTERS), int(random.integers(2, 6)))
    return letter(random, "".join(letters), tall, width)


def letter(random: Random, text: str, tall: float, width: float) -> Mark:
    """A letter or a word, about as high as the digits."""
    font = int(random.choice(_FONTS))
    scale = tall / 22 * random.uniform(0.7, 1.05)
    thick = max(1, round(width))
    (wide, high), low = cv2.getTextSize(text, font, scale, thick)
    canvas = np.zeros((high + 2 * low + 4 * thick + 6, wide + 6 * thick + 12), np.uint8)
    cv2.putText(canvas, text, (3 * thick, high + low), font, scale, 255, thick, cv2.LINE_AA)
    slant = random.normal(0, 0.15)
    matrix = np.array([[1, slant, -slant * high / 2], [0, 1, 0]], np.float32)
    leant = np.asarray(cv2.warpAffine(canvas, matrix, canvas.shape[::-1]), np.uint8)
    ink = trimmed(_by_hand(random, leant, random.uniform(0, _WOBBLE) * tall))
    return Mark(OTHER, ink, tall - ink.shape[0] + random.uniform(0, 0.1) * tall)


def _by_hand(random: Random, ink: UInt8, far: float) -> UInt8:
    """Ink whose parts are shifted by about that many pixels, each a little otherwise."""
    columns, rows = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in ink.shape[::-1]))
    for part in (columns, rows):
        coarse = random.normal(0, far, (4, 3)).astype(np.float32)
        part += cv2.resize(coarse, ink.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.remap(ink, columns, rows, cv2.INTER_LINEAR), np.uint8)


def _scribble(random: Random, tall: float, width: float) -> Mark:
    """A pen's way with many turns."""
    turns = int(random.integers(9, 18))
    points = random.uniform(0, 1, (turns, 2)) * [random.uniform(0.6, 2.2), 1.0] * tall
    t = np.linspace(0, turns - 1, 6 * turns)
    x, y = (np.interp(t, np.arange(turns), points[:, axis]) for axis in (0, 1))
    kernel = np.ones(5) / 5
    smooth = np.stack([np.convolve(one, kernel, "valid") for one in (x, y)], 1).astype(np.float32)
    edges = np.stack([np.arange(len(smooth) - 1), np.arange(1, len(smooth))], 1)
    ink = drawn(smooth, edges, width)
    return Mark(OTHER, ink, (tall - ink.shape[0]) / 2)
