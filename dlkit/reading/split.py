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
_CROSSING = 0.5  # by how much less a part may have with a cut more: cuts may cross each other
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


def parts(ink: Float, height: float) -> list[tuple[Part, Float, int]]:
    """Every part of a piece that may be a digit, its ink (H, W), and the column in the piece where
    that begins; the first is the whole. The longest piece takes time with its length.

    Args:
        ink: a piece, (H, W), 0 to 1.
        height: of the digits in its line, in pixels.
    """
    width = ink.shape[1] - 2  # there is a pixel around it
    cuts = seams(ink) if width > _NARROW * height else []
    end = len(cuts) + 1
    found = [(Part(0, end, width / height, 0.0), ink, 0)]
    if not cuts:
        return found
    bounds: list[Seam | None] = [None, *cuts, None]
    for first in range(end):
        for last in range(first + 1, end + 1):
            if (first, last) == (0, end):
                continue
            left, right = bounds[first], bounds[last]
            part, start = between(ink, left, right)
            columns = np.flatnonzero(np.any(part > EDGE, axis=0))
            if not len(columns):
                continue
            wide = (columns[-1] - columns[0] + 1) / height
            if wide > _MOST + _CROSSING:
                break  # those that end further to the right are wider still
            if not _LEAST <= wide <= _MOST or not _tall(part, height):
                continue
            found.append((Part(first, last, wide, right.ink if right else 0.0), part, start))
    return found


def choose(parts: Sequence[Part], probabilities: Sequence[float]) -> list[int]:
    """Indices of the parts, from the left, that make up the piece at the least cost."""
    end = parts[0].last
    ending: dict[int, list[int]] = {}
    for index, part in enumerate(parts):
        ending.setdefault(part.last, []).append(index)
    best = {0: (0.0, -1)}  # the least cost up to a cut, and the part that ends there
    for node in range(1, end + 1):
        options = [
            (
                best[parts[index].first][0]
                + _cost(parts[index], end)
                - math.log(max(probabilities[index], _LEAST_PROBABILITY)),
                index,
            )
            for index in ending.get(node, ())
            if parts[index].first in best
        ]
        if options:
            best[node] = min(options)
    chosen = []
    while end > 0:
        chosen.append(best[end][1])
        end = parts[chosen[-1]].first
    return chosen[::-1]


def _cost(part: Part, end: int) -> float:
    wide = _WIDE * max(0.0, part.wide - _USUAL) ** 2
    return wide if part.last == end else wide + _CUT + _INK * part.cut


def _tall(part: Float, height: float) -> bool:
    rows = np.flatnonzero(np.any(part > EDGE, axis=1))
    return bool(rows[-1] - rows[0] + 1 >= 0.5 * height)
