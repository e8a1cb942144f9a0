"""Random fields and small drawing helpers shared by the simulator's parts."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import numpy.typing as npt

from dlkit.mmwave.parameters import Range

FloatImage = npt.NDArray[np.float32]
ByteImage = npt.NDArray[np.uint8]
BoolImage = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float32]

# Binary digits of the fraction that OpenCV's polygon drawing understands.
SUBPIXEL_BITS = 4


def uniform(rng: np.random.Generator, bounds: Range) -> float:
    """One uniform draw between the two bounds."""
    return float(rng.uniform(bounds[0], bounds[1]))


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], across: float, down: float
) -> FloatImage:
    """Random field of about zero mean and unit deviation: float32 (H, W).

    `across` and `down` are the correlation lengths in pixels. Drawn on a coarse grid and enlarged,
    which costs little and looks like blurred white noise.
    """
    height, width = shape
    rows = max(3, int(np.ceil(height / max(down, 1.0))) + 2)
    columns = max(3, int(np.ceil(width / max(across, 1.0))) + 2)
    rows, columns = min(rows, height + 2), min(columns, width + 2)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    # A cubic enlargement keeps about 0.75 of the deviation in each direction.
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / 0.62, dtype=np.float32)


def smooth_line(rng: np.random.Generator, length: int, scale: float) -> FloatImage:
    """Random line of unit deviation: float32 (length,), white noise blurred with sigma `scale`."""
    reach = int(np.ceil(3 * scale)) + 1
    white = rng.standard_normal((1, length + 2 * reach)).astype(np.float32)
    blurred = cv2.GaussianBlur(white, (0, 0), scale)[0, reach : reach + length]
    # White noise blurred by a Gaussian keeps 1 / sqrt(2 sqrt(pi) sigma) of its deviation.
    return np.asarray(blurred * np.sqrt(2.0 * np.sqrt(np.pi) * max(scale, 0.3)), dtype=np.float32)


def fill(mask: ByteImage, polygon: Points, value: int = 255) -> None:
    """Fill one polygon, (N, 2) x and y in the mask's own pixels, into a uint8 mask in place."""
    fixed = np.round(polygon * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], (value,), lineType=cv2.LINE_8, shift=SUBPIXEL_BITS)


def ellipse(
    x: float, y: float, half_width: float, half_height: float, angle: float = 0.0, power: float = 2
) -> Points:
    """Outline of a superellipse, (28, 2); `angle` in radians, `power` 2 is an ellipse."""
    turn = np.linspace(0.0, 2.0 * np.pi, 28, endpoint=False)
    cosine, sine = np.cos(turn), np.sin(turn)
    across = half_width * np.sign(cosine) * np.abs(cosine) ** (2.0 / power)
    down = half_height * np.sign(sine) * np.abs(sine) ** (2.0 / power)
    return placed(np.stack([across, down], axis=1), x, y, angle)


def placed(outline: npt.ArrayLike, x: float, y: float, angle: float) -> Points:
    """Turn an outline by `angle` radians about its origin and move it to (x, y)."""
    points = np.asarray(outline, dtype=np.float64)
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = points @ np.array([[cosine, sine], [-sine, cosine]])
    return np.asarray(turned + np.array([x, y]), dtype=np.float32)


def chain(circles: npt.ArrayLike) -> list[Points]:
    """Hulls of each two neighbours in a chain of circles (K, 3) x, y, radius: a smooth limb."""
    turn = np.linspace(0.0, 2.0 * np.pi, 14, endpoint=False)
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rows = np.asarray(circles, dtype=np.float64)
    outlines = [ring * row[2] + row[:2] for row in rows]
    hulls = []
    for first, second in itertools.pairwise(outlines):
        hull = cv2.convexHull(np.concatenate([first, second]).astype(np.float32))
        hulls.append(np.asarray(hull[:, 0], dtype=np.float32))
    return hulls
