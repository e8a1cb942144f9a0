"""Page: a simulated page and what is written on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

UInt8: TypeAlias = NDArray[np.uint8]
Float: TypeAlias = NDArray[np.float32]
Random: TypeAlias = np.random.Generator

OTHER = "?"  # a sign that has no character of its own: a letter, a word, a scribble


@dataclass(frozen=True)
class Digits:
    """Handwritten digits to write with.

    Attributes:
        images: uint8 (N, 28, 28), bright on black, as MNIST has them.
        labels: (N,), 0 to 9.
    """

    images: UInt8
    labels: NDArray[Any]


class Sign(NamedTuple):
    """A digit, or another sign.

    Attributes:
        text: its character; ``OTHER`` where it has none.
        box: left, top, width and height of its ink, in pixels.
    """

    text: str
    box: tuple[float, float, float, float]

    @property
    def is_digit(self) -> bool:
        """Whether it is one of 0 to 9."""
        return self.text in "0123456789"


@dataclass(frozen=True)
class Line:
    """What is written in one line.

    Attributes:
        text: the signs' characters, numbers separated by a space.
        signs: from the left.
    """

    text: str
    signs: tuple[Sign, ...]


@dataclass(frozen=True)
class Page:
    """A simulated page.

    Attributes:
        image: uint8 (H, W, 3) BGR.
        lines: from the top.
        kind: one of ``KINDS``.
        pen: one of ``PENS``.
        touching: pairs of digits that touch.
    """

    image: UInt8
    lines: tuple[Line, ...]
    kind: str
    pen: str
    touching: int = 0

    @property
    def signs(self) -> tuple[Sign, ...]:
        """All signs, line by line."""
        return tuple(sign for line in self.lines for sign in line.signs)
