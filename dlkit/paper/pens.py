"""Pens: how a digit's ink looks, written with MNIST's strokes or drawn anew."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.paper.page import Float, Random, UInt8
from dlkit.paper.strokes import strokes

PENS = ("mnist", "thin", "marker")
_INK_HEIGHT = 20  # pixels of MNIST's 28 that a digit fills
_FAINT = 40  # of 255: fainter pixels of MNIST's are no ink
EDGE = 90  # of 255: what is fainter is outside of a sign's box


@dataclass(frozen=True)
class Pen:
    """A pen.

    Attributes:
        name: one of ``PENS``: MNIST's own strokes; middle lines drawn with a pen; with a marker.
        width: of its strokes in pixels.
        sharp: of MNIST's strokes: the level at which their ink ends, 0 to 1; lower is thicker.
    """

    name: str
    width: float
    sharp: float = 0.45


def pen(random: Random, name: str, tall: float) -> Pen:
    """A pen of that name for digits of ``tall`` pixels."""
    if name == "marker":
        width = tall * random.uniform(0.11, 0.2)
    elif name == "thin":
        width = random.uniform(1.8, 3.6) if tall > 26 else random.uniform(1.2, 2.4)
    else:
        width = tall * random.uniform(0.06, 0.14)
    return Pen(name, max(1.0, width), random.uniform(0.3, 0.6))


def glyph(image: UInt8, tall: float, tool: Pen, random: Random, wide: float = 1.0) -> UInt8:
    """A digit's ink, uint8 (H, W), cropped to it.

    Args:
        image: uint8 (28, 28), as MNIST has it.
        tall: pixels of the longer side of MNIST's box.
        wide: how many times as wide it is drawn.
    """
    if tool.name == "mnist":
        return _own(image, tall, tool, wide)
    lines = strokes(image)
    if not len(lines.edges):
        return _own(image, tall, tool, wide)
    slant = random.normal(0, 0.06)
    matrix = np.array([[wide, slant], [0, 1]]) * tall
    return drawn(lines.points @ matrix.T.astype(np.float32), lines.edges, tool.width)


def drawn(points: Float, edges: NDArray[np.int64], width: float) -> UInt8:
    """Lines between points (N, 2), x and y in pixels, as ink, cropped."""
    room = width + 2
    low = points.min(axis=0) - room
    size = np.ceil(points.max(axis=0) + room - low).astype(int) * 2
    canvas = np.zeros((size[1], size[0]), np.uint8)
    ends = ((points - low) * 32).round().astype(np.int32)[edges]
    thick = max(1, round(2 * width))
    cv2.polylines(canvas, list(ends), False, 255, thick, cv2.LINE_8, 4)
    small = cv2.resize(canvas, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return trimmed(np.asarray(small, np.uint8))


def trimmed(ink: UInt8) -> UInt8:
    """What has ink, and at least one pixel."""
    x, y, width, height = cv2.boundingRect((ink > EDGE).astype(np.uint8))
    if not width:
        return ink
    return ink[y : y + height, x : x + width]


def _own(image: UInt8, tall: float, tool: Pen, wide: float) -> UInt8:
    """MNIST's strokes, with edges as sharp as a pen's."""
    x, y, width, height = cv2.boundingRect((image > _FAINT).astype(np.uint8))
    image = np.pad(image, 1)
    cut = image[y : y + height + 2, x : x + width + 2]
    scale = tall / _INK_HEIGHT
    size = (max(3, round(cut.shape[1] * scale * wide)), max(3, round(cut.shape[0] * scale)))
    large = cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC)
    soft = 0.3 if scale > 1 else 0.6
    levels = ((np.arange(256) / 255 - tool.sharp) / soft + 0.5).clip(0, 1) * 255
    return trimmed(np.asarray(cv2.LUT(large, levels.astype(np.uint8))))
