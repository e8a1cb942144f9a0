"""From a flat sheet to a picture: desk, perspective, folds, light, defocus, noise, JPEG."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.paper.page import Float, Random, UInt8

_LIGHT = 8  # pixels: light is computed at a size reduced by this


def turned(
    random: Random, shape: tuple[int, int], most: float
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """A rotation by up to ``most`` degrees about the middle; and the same size."""
    height, width = shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-most, most), 1.0)
    return np.vstack([np.asarray(matrix, np.float64), [0, 0, 1]]), (height, width)


def lying(random: Random, shape: tuple[int, int]) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """A sheet on a desk, seen from above, more or less; and the size of the picture."""
    height, width = shape
    room = random.uniform(0.03, 0.2, 2) * [width, height]
    size = (int(height + 2 * room[1]), int(width + 2 * room[0]))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    angle = np.radians(random.uniform(-8, 8))
    middle = corners.mean(axis=0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    there = (corners - middle) @ turn + middle
    there = there + random.uniform(-0.06, 0.06, (4, 2)) * [width, height] + room
    matrix = cv2.getPerspectiveTransform(corners, there.astype(np.float32))
    return np.asarray(matrix, np.float64), size


def desk(random: Random, size: tuple[int, int]) -> UInt8:
    """A desk of any colour: plain, in grain, or in spots; uint8 (H, W, 3)."""
    height, width = size
    base = random.uniform(15, 235) + random.normal(0, 22, 3)
    kind = random.random()
    small = (max(2, height // 6), max(2, width // 6))
    field: NDArray[Any]
    if kind < 0.35:
        field = random.normal(0, 2, small)
    elif kind < 0.7:  # wood
        rows = np.cumsum(random.normal(0, 1, small[0]))
        rows = (rows - rows.mean()) / max(rows.std(), 1e-6)
        field = rows[:, None] * random.uniform(3, 18) + random.normal(0, 3, small)
        if random.random() < 0.5:
            field = np.asarray(cv2.resize(np.ascontiguousarray(field.T), small[::-1]))
    else:
        spots = random.normal(0, 1, small)
        field = np.asarray(cv2.GaussianBlur(spots, (0, 0), random.uniform(0.6, 6)))
        field = field / max(float(field.std()), 1e-6) * random.uniform(3, 25)
    smooth = cv2.resize(field.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((base + smooth[:, :, None]).clip(0, 255), np.uint8)


def things(random: Random, canvas: UInt8) -> None:
    """A pen, a cup or another sheet's edge on the desk."""
    height, width = canvas.shape[:2]
    for _ in range(int(random.integers(0, 3))):
        grey = [int(v) for v in random.uniform(0, 255, 3)]
        x, y = int(random.uniform(0, width)), int(random.uniform(0, height))
        if random.random() < 0.5:
            angle = random.uniform(0, 2 * np.pi)
            far = 0.4 * max(canvas.shape)
            end = (int(x + far * np.cos(angle)), int(y + far * np.sin(angle)))
            cv2.line(canvas, (x, y), end, grey, int(random.integers(4, 22)), cv2.LINE_AA)
        else:
            cv2.circle(
                canvas, (x, y), int(random.uniform(0.04, 0.2) * width), grey, -1, cv2.LINE_AA
            )


def light(random: Random, shape: tuple[int, int], shadow: float, folds: float) -> Float:
    """Light (H, W), up to about 1: a gradient, perhaps a vignette, shadows, folds, glare.

    Args:
        shadow: chance of one with a soft or hard edge.
        folds: chance of folds.
    """
    height, width = (max(2, -(-side // _LIGHT)) for side in shape)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    whole = 1 - random.uniform(0, 0.35) * (_along(random, x, y) + 1.42) / 2.84
    if random.random() < 0.3:
        whole = whole * (1 - random.uniform(0.1, 0.4) * (x**2 + y**2) / 2)
    if random.random() < folds:
        for _ in range(int(random.integers(1, 4))):
            away = _along(random, x, y, straight=True) - random.uniform(-0.6, 0.6)
            edge = np.exp(-np.abs(away) / random.uniform(0.02, 0.25)) * np.sign(away)
            whole = whole * (1 + random.uniform(0.03, 0.15) * edge)
    if random.random() < 0.12:  # glare
        far = (x - random.uniform(-1, 1)) ** 2 + (y - random.uniform(-1, 1)) ** 2
        whole = whole + random.uniform(0.1, 0.5) * np.exp(-far / random.uniform(0.05, 0.5))
    field = np.asarray(
        cv2.resize(whole.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
    )
    while random.random() < shadow:
        shadow *= 0.3
        field = field * _shadow(random, shape)
    return np.asarray(field, np.float32)


def photograph(random: Random, pixels: UInt8, lit: Float, rough: float = 1.0) -> UInt8:
    """A picture of a lit scene (H, W, 3): blurred, noisy, through JPEG.

    Args:
        rough: how much of that, 1 is usual.
    """
    scene = cv2.multiply(pixels, cv2.merge([lit, lit, lit]), dtype=cv2.CV_32F)
    blur = random.uniform(0.2, 1.2) * rough
    if blur > 0.35:
        scene = cv2.GaussianBlur(scene, (0, 0), blur)
    noise = np.empty(scene.shape[:2], np.float32)
    cv2.setRNGSeed(int(random.integers(1 << 31)))
    cv2.randn(noise, 0, random.uniform(0.5, 7) * rough)  # type: ignore[call-overload]
    scene += noise[:, :, None]
    done = cv2.convertScaleAbs(np.maximum(scene, 0))
    if random.random() < 0.8:
        quality = int(random.integers(45, 97))
        coded = cv2.imencode(".jpg", done, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(done, np.uint8)


def _shadow(random: Random, shape: tuple[int, int]) -> Float:
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None]
    angle = random.uniform(0, 2 * np.pi)
    edge = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    edge = edge - np.float32(random.uniform(-0.7, 0.7))
    softness = np.float32(random.choice([0.006, 0.03, 0.15]))
    deep = np.float32(random.uniform(0.15, 0.55))
    return np.asarray(1 - deep * np.clip(0.5 - edge / (4 * softness), 0, 1), np.float32)


def _along(
    random: Random, x: NDArray[np.float64], y: NDArray[np.float64], straight: bool = False
) -> NDArray[np.float64]:
    angle = random.uniform(0, 2 * np.pi)
    if straight:
        angle = random.choice([0, np.pi / 2]) + random.normal(0, 0.06)
    return np.asarray(np.cos(angle) * x + np.sin(angle) * y)
