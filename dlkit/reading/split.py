"""Digits that touch: every way to cut a piece, and the one that the network believes most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit.reading.seams import Seam, between, seams
from dlkit.reading.square import EDGE

Float = NDArray[np.float32]

# All as shares of the height of the line's digits.
_NARROW = 0.6  # a piece that is narrower is one digit
_LEAST, _MOST = 0.12, 1.4  # width of a digit
# What a way to cut costs, in the network's log probability.
_CUT = 0.7  # each cut
_INK = 4.5  # each height of ink that is cut through
_WIDE, _USUAL = 8.0, 0.65  # each height squared that a digit is wider than usual
_LEAST_PROBABILITY = 1e-6


class Part(NamedTuple):
    """Ink between two cuts of a piece.

    Attributes:
        first, last: cuts at its left and right; 0 is the piece's left edge.
        wide: how wide it is, in heights of the line's digits.
        cut: how much ink the cut at its right goes through, in heights.
    """

    first: int
    last: int
    wide: float
    cut: float


def parts(ink: Float, height: float) -> list[tuple[Part, Float]]:
    """Every part of a piece that may be a digit, and its ink (H, W); the first is the whole.

    Args:
        ink: a piece, (H, W), 0 to 1.
        height: of the digits in its line, in pixels.
    """
    width = ink.shape[1] - 2  # there is a pixel around it
    cuts = seams(ink) if width > _NARROW * height else []
    end = len(cuts) + 1
    found = [(Part(0, end, width / height, 0.0), ink)]
    if not cuts:
        return found
    bounds: list[Seam | None] = [None, *cuts, None]
    for first in range(end):
        for last in range(first + 1, end + 1):
            if (first, last) == (0, end):
                continue
            left, right = bounds[first], bounds[last]
            part = between(ink, left, right)
            columns = np.flatnonzero(np.any(part > EDGE, axis=0))
            if not len(columns):
                continue
            wide = (columns[-1] - columns[0] + 1) / height
            if not _LEAST <= wide <= _MOST or not _tall(part, height):
                continue
            found.append((Part(first, last, wide, right.ink if right else 0.0), part))
    return found


def choose(parts: Sequence[Part], probabilities: Sequence[float]) -> list[int]:
    """Indices of the parts, from the left, that make up the piece at the least cost."""
    end = parts[0].last
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for node in range(1, end + 1):
        options = [
            (
                best[part.first][0]
                + _cost(part, end)
                - math.log(max(probabilities[index], _LEAST_PROBABILITY)),
                [*best[part.first][1], index],
            )
            for index, part in enumerate(parts)
            if part.last == node and part.first in best
        ]
        if options:
            best[node] = min(options, key=lambda option: option[0])
    return best[end][1]


def _cost(part: Part, end: int) -> float:
    wide = _WIDE * max(0.0, part.wide - _USUAL) ** 2
    return wide if part.last == end else wide + _CUT + _INK * part.cut


def _tall(part: Float, height: float) -> bool:
    rows = np.flatnonzero(np.any(part > EDGE, axis=1))
    return bool(rows[-1] - rows[0] + 1 >= 0.5 * height)
