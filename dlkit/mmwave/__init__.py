"""Simulator of passive millimetre-wave body scans, with the clean picture people make of them.

`simulate(seed)` gives one pair. Physics first, in kelvin: a person before a background, with
clothing and concealed objects (`body`, `clothing`, `objects`, `scene`). Then the scanner: blur,
column stripes, noise, eight bits (`scanner`). Then the clean picture: levels curve, mask, brush
(`retouch`). Every number is a field of `Parameters`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from dlkit.mmwave.fields import FloatImage
from dlkit.mmwave.parameters import Parameters
from dlkit.mmwave.retouch import retouch
from dlkit.mmwave.scanner import Optics, kill_columns, quantise, receive, to_grey
from dlkit.mmwave.scene import Scene, draw_scene

__all__ = ["DEFAULTS", "REFERENCE_SIZE", "Parameters", "Scan", "simulate"]

# Rows and columns of a scan of the scanner that the parameters were measured on.
REFERENCE_SIZE = (678, 384)

# The parameters as they were measured, for calls that name none.
DEFAULTS = Parameters()

# From this many pixels in a reference pixel on, the scene is drawn at half resolution: the optics
# blur it by far more than that.
HALF_FROM = 0.7

Box = tuple[int, int, int, int, str]


@dataclass(frozen=True)
class Received:
    """A scene and what the scanner makes of it.

    Attributes:
        scale: pixels in a reference pixel.
        grey: float32 (H, W), grey levels, neither clipped nor rounded; without dead columns.
        gain: grey levels of a kelvin.
    """

    scale: float
    scene: Scene
    optics: Optics
    grey: FloatImage
    gain: float


@dataclass(frozen=True)
class Scan:
    """One simulated scan with its clean picture and annotations."""

    noisy: npt.NDArray[np.uint8]  # (H, W) the scan
    clean: npt.NDArray[np.uint8]  # (H, W) black background, white body, black objects
    object_mask: npt.NDArray[np.uint8]  # (H, W) 0 = none, k = the k-th object
    body_mask: npt.NDArray[np.bool_]  # (H, W) the person, objects before it included
    boxes: list[Box]  # x0, y0, x1, y1 (exclusive) and kind, in the order of object_mask


def received(rng: np.random.Generator, size: tuple[int, int], parameters: Parameters) -> Received:
    """Draw a scene, and scan it with `size` (rows, columns) pixels."""
    height, width = size
    scale = min(height / REFERENCE_SIZE[0], width / REFERENCE_SIZE[1])
    step = 2 if scale >= HALF_FROM else 1
    canvas = (-(-height // step), -(-width // step))
    scene = draw_scene(rng, parameters, canvas, scale / step)
    optics = Optics.draw(rng, parameters, scale / step)
    image = enlarge(optics.apply(scene.kelvin), size)
    kelvin = receive(rng, parameters, image, scale, scene.surroundings)
    return Received(scale, scene, optics, *to_grey(parameters, kelvin))


def enlarge(image: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Bring a canvas to (H, W)."""
    if image.shape == size:
        return image
    return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR))


def simulate(
    seed: int, size: tuple[int, int] = REFERENCE_SIZE, parameters: Parameters = DEFAULTS
) -> Scan:
    """Simulate one scan of `size` (rows, columns), the same for the same seed.

    Any size of at least 16 x 16 works; the person is scaled so that a whole reference frame fits.
    """
    height, width = size
    if min(height, width) < 16:
        raise ValueError(f"size {height}x{width} is too small for a scan; at least 16x16 is needed")
    rng = np.random.default_rng(seed)
    got = received(rng, size, parameters)
    scale, scene, optics, grey = got.scale, got.scene, got.optics, np.clip(got.grey, 0.0, 255.0)
    noisy = quantise(grey)

    sharp = scene.body.astype(np.float32) / np.float32(255)
    coverage = enlarge(optics.apply(sharp), size)
    body_mask = enlarge(sharp, size) > 0.5
    object_mask = np.zeros(size, np.uint8)
    hidden = np.zeros(size, np.float32)
    boxes: list[Box] = []
    for number, thing in enumerate(scene.objects, start=1):
        alone = (scene.labels == number).astype(np.float32)
        seen = enlarge(alone, size) > 0.5
        object_mask[seen] = number
        blurred = enlarge(optics.apply(alone), size)
        np.maximum(hidden, blurred / max(float(blurred.max()), 1e-3), out=hidden)
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        ends = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        boxes.append((*ends, thing.kind))
    clean = retouch(rng, parameters, grey, coverage, body_mask, object_mask > 0, hidden, scale)
    noisy = kill_columns(rng, parameters, noisy)
    return Scan(noisy, clean, object_mask, body_mask, boxes)
