"""Page: the digits of an image, by line, in reading order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in the image's pixels: its left upper corner and its size."""

    x: int
    y: int
    width: int
    height: int


class Digit(NamedTuple):
    """A digit on a page.

    Attributes:
        label: the class, e.g. ``7``.
        probability: of that class, 0 to 1.
        box: around its ink.
    """

    label: str
    probability: float
    box: Box


@dataclass(frozen=True)
class Line:
    """Digits that stand in one line.

    Attributes:
        text: they joined, with a space where a wide gap is, points, commas and minus where they
            are sure, and ``?`` for other signs and for ink that was not read.
        digits: from the left to the right.
    """

    text: str
    digits: tuple[Digit, ...]


@dataclass(frozen=True)
class Page:
    """What an image shows.

    Attributes:
        lines: from the top to the bottom; none where there is no digit.
        single: the image was taken for that of one digit, not for a page.
    """

    lines: tuple[Line, ...]
    single: bool = False

    @property
    def digits(self) -> tuple[Digit, ...]:
        """All digits in reading order."""
        return tuple(digit for line in self.lines for digit in line.digits)

    @property
    def text(self) -> str:
        """All lines, one below the other."""
        return "\n".join(line.text for line in self.lines)
