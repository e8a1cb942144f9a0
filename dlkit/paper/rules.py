"""What is printed on a sheet: rules, squares, margins, boxes, words."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from dlkit.paper.page import Random, UInt8

_WORDS = (
    "Name", "Date", "Account No.", "Amount", "Total", "Code", "Please fill in", "Postcode", "Phone",
    "Signature", "Form", "Reference", "in EUR", "Number of items", "use block letters", "Sum",
    "Office use only", "Customer", "Order", "Betrag", "Datum", "Konto", "Unterschrift",
)  # fmt: skip
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX)
_BLUE, _RED, _GREY, _GREEN = (200, 150, 110), (110, 110, 220), (120, 120, 120), (120, 170, 120)


class Printed(NamedTuple):
    """A layer of one colour.

    Attributes:
        cover: uint8 (H, W): how much of the paper it hides.
        colour: blue, green and red, 0 to 255.
    """

    cover: UInt8
    colour: tuple[float, float, float]


def blank(shape: tuple[int, int], colour: tuple[float, float, float]) -> Printed:
    """A layer with nothing on it."""
    return Printed(np.zeros(shape, np.uint8), colour)


def colour(random: Random, strong: float = 0.3) -> tuple[float, float, float]:
    """Of rules: mostly pale blue, red, grey or green; a share is strong and dark."""
    if random.random() < strong:
        dark = random.uniform(10, 90)
        return tuple(np.clip(dark + random.normal(0, 12, 3), 0, 255))
    base = np.array([_BLUE, _RED, _GREY, _GREEN][int(random.choice(4, p=[0.45, 0.2, 0.25, 0.1]))])
    pale = random.uniform(0, 0.6)
    return tuple(np.clip(base + (240 - base) * pale + random.normal(0, 8, 3), 0, 255))


def ruled(layer: Printed, random: Random, first: float, pitch: float) -> None:
    """Lines across the sheet, ``pitch`` pixels apart."""
    thick = _thick(random, 2.6)
    height, width = layer.cover.shape
    for y in np.arange(first % pitch, height, pitch):
        _rule(layer.cover, (0, y), (width, y), thick)


def squared(layer: Printed, random: Random, side: float) -> None:
    """Squares all over the sheet."""
    thick = _thick(random, 2.6)
    height, width = layer.cover.shape
    for y in np.arange(random.uniform(0, side), height, side):
        _rule(layer.cover, (0, y), (width, y), thick)
    for x in np.arange(random.uniform(0, side), width, side):
        _rule(layer.cover, (x, 0), (x, height), thick)


def margin(layer: Printed, random: Random, at: float) -> None:
    """A line from top to bottom, sometimes a double one."""
    thick = _thick(random, 6.0)
    height = layer.cover.shape[0]
    lean = random.uniform(-3, 3)
    for x in (at, at - 3 * thick)[: 1 + (random.random() < 0.15)]:
        _rule(layer.cover, (x, 0), (x + lean, height), thick)


def box(layer: Printed, left: float, top: float, width: float, height: float, thick: float) -> None:
    """The frame of one cell."""
    right, bottom = left + width, top + height
    for ends in (
        ((left, top), (right, top)),
        ((left, bottom), (right, bottom)),
        ((left, top), (left, bottom)),
        ((right, top), (right, bottom)),
    ):
        _rule(layer.cover, *ends, thick)


def under(layer: Printed, left: float, right: float, y: float, thick: float) -> None:
    """A line to write on."""
    _rule(layer.cover, (left, y), (right, y), thick)


def words(layer: Printed, random: Random, left: float, bottom: float, tall: float) -> float:
    """Some printed words; gives the column where they end."""
    font, scale = int(random.choice(_FONTS)), max(0.3, tall / 22)
    text = " ".join(random.choice(_WORDS, int(random.integers(1, 3))))
    thick = 1 if tall < 16 else 2
    cv2.putText(
        layer.cover, text, (round(left), round(bottom)), font, scale, 255, thick, cv2.LINE_AA
    )
    return left + cv2.getTextSize(text, font, scale, thick)[0][0]


def _thick(random: Random, most: float) -> float:
    return float(random.uniform(0.7, most))


def _rule(cover: UInt8, start: tuple[float, float], end: tuple[float, float], thick: float) -> None:
    """A line as wide as is wanted: what is thinner than a pixel is fainter."""
    ends = [(round(x * 16), round(y * 16)) for x, y in (start, end)]
    grey = 255 if thick >= 1 else int(255 * thick)
    cv2.line(cover, ends[0], ends[1], grey, max(1, round(thick)), cv2.LINE_AA, 4)
