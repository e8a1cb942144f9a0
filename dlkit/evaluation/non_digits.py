"""Pictures that are no digits, to measure how sure of them a recognizer is.

Made for evaluation: training must not use this module, else it would measure what was trained on.
Every kind is bright on black or a whole picture, uint8 (N, 28, 28), and the same for the same seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.images import UInt8

Random: TypeAlias = np.random.Generator

_SIZE = 28
_FINE = 8  # shapes are drawn so many times larger, then averaged: no jagged edges
_MARGIN = 4  # MNIST's digits fill 20 x 20

# Letters that nobody takes for a digit: no O or Q (0), I or l (1), Z (2), S (5), b or G (6), T (7),
# B (8), g or q (9), a or omega (0), and what resembles those in italics.
_LATIN = "AEFHKMNPRWX" + "efkmnrwx"
_GREEK = "ΔΛΞΠΣΨ"
# Files of matplotlib: it brings them, so letters look the same on every machine.
_FONTS = ("DejaVuSerif-Italic", "DejaVuSansMono-Bold", "STIXGeneral", "STIXGeneralBolIta")

# Outlines in a square from 0 to 1, downwards.
_OUTLINES: Mapping[str, list[tuple[float, float]]] = {
    "shirt": [
        (0.3, 0.1), (0.4, 0.18), (0.6, 0.18), (0.7, 0.1), (1, 0.35), (0.86, 0.5), (0.76, 0.42),
        (0.76, 0.95), (0.24, 0.95), (0.24, 0.42), (0.14, 0.5), (0, 0.35),
    ],
    "trousers": [
        (0.25, 0.03), (0.75, 0.03), (0.88, 0.98), (0.62, 0.98), (0.5, 0.35), (0.38, 0.98),
        (0.12, 0.98),
    ],
    "boot": [
        (0.35, 0.05), (0.7, 0.05), (0.68, 0.5), (1, 0.75), (1, 0.95), (0.3, 0.95), (0.32, 0.6),
    ],
    "dress": [
        (0.35, 0.02), (0.45, 0.12), (0.55, 0.12), (0.65, 0.02), (0.62, 0.4), (0.9, 0.98),
        (0.1, 0.98), (0.38, 0.4),
    ],
    "bag": [
        (0.05, 0.4), (0.3, 0.4), (0.36, 0.15), (0.64, 0.15), (0.7, 0.4), (0.95, 0.4), (0.9, 0.95),
        (0.1, 0.95),
    ],
    "house": [(0.5, 0.05), (0.95, 0.45), (0.82, 0.45), (0.82, 0.95), (0.18, 0.95), (0.18, 0.45),
              (0.05, 0.45)],
    "arrow": [(0, 0.35), (0.55, 0.35), (0.55, 0.1), (1, 0.5), (0.55, 0.9), (0.55, 0.65), (0, 0.65)],
    "star": [
        (0.5 + radius * np.sin(index * np.pi / 5), 0.5 - radius * np.cos(index * np.pi / 5))
        for index, radius in enumerate([0.5, 0.2] * 5)
    ],
}  # fmt: skip


def non_digits(kind: str, count: int, digits: UInt8, seed: int = 0) -> UInt8:
    """Pictures of one of ``KINDS``; the same seed gives the same bytes.

    Args:
        digits: uint8 (M, 28, 28), M at least 1: what ``shuffled`` cuts up.

    Returns:
        uint8 (count, 28, 28).
    """
    random = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    return np.stack([KINDS[kind](random, digits) for _ in range(count)])


def empty(random: Random, digits: UInt8) -> UInt8:
    """Nothing: one grey level, or a soft gradient of light; half of them with a sensor's noise."""
    level = random.uniform(0, 255)
    across, down = np.meshgrid(np.linspace(-1, 1, _SIZE), np.linspace(-1, 1, _SIZE))
    angle, slope = random.uniform(0, 2 * np.pi), random.choice([0, random.uniform(0, 60)])
    field = level + slope * (np.cos(angle) * across + np.sin(angle) * down)
    noise = random.choice([0, random.uniform(1, 8)])
    return _pixels(field + random.normal(0, 1, (_SIZE, _SIZE)) * noise)


def noise(random: Random, digits: UInt8) -> UInt8:
    """White noise: uniform, normal about a grey level, or sparse white dots."""
    choice = random.integers(3)
    if choice == 0:
        return random.integers(0, 256, (_SIZE, _SIZE), dtype=np.uint8)
    if choice == 1:
        spread, level = random.uniform(10, 80), random.uniform(0, 255)
        return _pixels(random.normal(level, spread, (_SIZE, _SIZE)))
    dots = random.random((_SIZE, _SIZE)) < random.uniform(0.02, 0.3)
    return _pixels(dots * 255.0)


def clouds(random: Random, digits: UInt8) -> UInt8:
    """Noise whose power falls with frequency, 1/f to 1/f^3, over the full range."""
    frequency = np.hypot(np.fft.fftfreq(_SIZE)[:, None], np.fft.rfftfreq(_SIZE)[None, :])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(random.normal(0, 1, (_SIZE, _SIZE)))
    field = np.fft.irfft2(spectrum * frequency ** -random.uniform(1, 3), (_SIZE, _SIZE))
    field -= field.min()
    return _pixels(field / field.max() * 255)


def blobs(random: Random, digits: UInt8) -> UInt8:
    """One to four filled ellipses, hard or soft, none so slim that it is a 1."""
    canvas = np.zeros((_SIZE, _SIZE), np.float32)
    across, down = np.meshgrid(np.arange(_SIZE), np.arange(_SIZE))
    for _ in range(random.integers(1, 5)):
        x, y = random.uniform(7, 21, 2)
        wide, high = random.uniform(3.5, 8, 2)
        angle = random.uniform(0, np.pi)
        u = (across - x) * np.cos(angle) + (down - y) * np.sin(angle)
        v = (down - y) * np.cos(angle) - (across - x) * np.sin(angle)
        inside = 1 - np.hypot(u / wide, v / high)
        canvas = np.maximum(canvas, np.clip(inside * random.uniform(2, 8), 0, 1))
    return _pixels(canvas * random.uniform(150, 255))


def textures(random: Random, digits: UInt8) -> UInt8:
    """A grating, a checkerboard or a grid of dots, in any direction, over the whole picture."""
    angle, period = random.uniform(0, np.pi), random.uniform(3, 12)
    across, down = np.meshgrid(np.arange(_SIZE), np.arange(_SIZE))
    u = (across * np.cos(angle) + down * np.sin(angle)) * 2 * np.pi / period
    v = (down * np.cos(angle) - across * np.sin(angle)) * 2 * np.pi / period
    u, v = u + random.uniform(0, 2 * np.pi), v + random.uniform(0, 2 * np.pi)
    wave = (np.sin(u), np.sin(u) * np.sin(v), np.minimum(np.sin(u), np.sin(v)))[random.integers(3)]
    return _pixels(127.5 + 127.5 * np.clip(wave * random.uniform(0.8, 4), -1, 1))


def silhouettes(random: Random, digits: UInt8) -> UInt8:
    """Clothes, a bag, a boot, a house, an arrow, a star: a filled polygon, its corners jittered."""
    names = sorted(_OUTLINES)
    outline = np.array(_OUTLINES[names[random.integers(len(names))]])
    outline = (outline - 0.5) * random.uniform(0.8, 1.1, 2) + random.normal(0, 0.02, outline.shape)
    return _fill([outline * (_SIZE - 2 * _MARGIN)], random)


def letters(random: Random, digits: UInt8) -> UInt8:
    """Latin and Greek letters that look like no digit, in serif, sans and italic fonts."""
    characters = _LATIN + _GREEK
    character = characters[random.integers(len(characters))]
    shape = _letter(character, _FONTS[random.integers(len(_FONTS))])
    return _fill([polygon * (_SIZE - 2 * _MARGIN) for polygon in shape], random)


def shuffled(random: Random, digits: UInt8) -> UInt8:
    """A real digit cut into 16 squares that change places: its strokes, and no shape."""
    tiles = digits[random.integers(len(digits))].reshape(4, 7, 4, 7).swapaxes(1, 2)
    mixed = tiles.reshape(16, 7, 7)[random.permutation(16)].reshape(4, 4, 7, 7)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(_SIZE, _SIZE))


KINDS: Mapping[str, Callable[[Random, UInt8], UInt8]] = {
    function.__name__: function
    for function in (empty, noise, clouds, blobs, textures, silhouettes, letters, shuffled)
}


def _fill(polygons: list[NDArray[Any]], random: Random) -> UInt8:
    """Polygons about (0, 0) in pixels, a little turned and shifted, as MNIST's digits are."""
    angle = random.uniform(-0.2, 0.2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    place = (_SIZE / 2 + random.uniform(-1, 1, 2)) * _FINE
    canvas = np.zeros((_SIZE * _FINE, _SIZE * _FINE), np.uint8)
    drawn = [np.rint(polygon @ turn * _FINE + place).astype(np.int32) for polygon in polygons]
    cv2.fillPoly(canvas, drawn, (int(random.integers(180, 256)),))
    shrunk = cv2.resize(canvas, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.uint8)


@lru_cache(maxsize=256)
def _letter(character: str, font: str) -> tuple[NDArray[Any], ...]:
    """Outlines, downwards, the longer side 1 and the middle at (0, 0)."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    path = TextPath((0, 0), character, size=100, prop=FontProperties(fname=file))
    polygons = [np.asarray(polygon) for polygon in path.to_polygons()]
    corners = np.concatenate(polygons)
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = np.array([1, -1]) / (high - low).max()
    return tuple((polygon - (low + high) / 2) * scale for polygon in polygons)


def _pixels(field: NDArray[Any]) -> UInt8:
    return np.asarray(np.rint(np.clip(field, 0, 255)), np.uint8)
