"""Reading order: which pieces stand in one line."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from dlkit.reading.components import Piece

_SHARED = 0.45  # of the smaller height: what stands in one line overlaps by more
_FOLLOW = 0.4  # by how much a line follows its last digit: lines may bend
_SPACE = 0.75  # of the height of a line: a wider gap separates numbers
_WIDE = 1.8  # of the usual gap: and is wider than this


def lines(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces on a level page by line, from the top; in a line from the left."""
    found: list[list[Piece]] = []
    spans: list[tuple[float, float]] = []  # where each line is: its middle and half of its height
    for piece in sorted(pieces, key=lambda piece: piece.box.x + piece.box.width / 2):
        half = piece.box.height / 2
        middle = piece.box.y + half
        best, most = -1, _SHARED
        for index, (at, tall) in enumerate(spans):
            shared = min(middle + half, at + tall) - max(middle - half, at - tall)
            if (share := shared / (2 * min(half, tall))) > most:
                best, most = index, share
        if best < 0:
            found.append([piece])
            spans.append((middle, half))
        else:
            found[best].append(piece)
            at, tall = spans[best]
            spans[best] = (at + _FOLLOW * (middle - at), tall + _FOLLOW * (half - tall))
    middles = [np.median([piece.box.y + piece.box.height / 2 for piece in line]) for line in found]
    return [found[index] for index in np.argsort(middles, kind="stable")]


def spaces(boxes: Sequence[tuple[float, float]], height: float) -> list[bool]:
    """Whether a wide gap is before each digit of a line.

    Args:
        boxes: left and right edge of each.
        height: of the line's digits.
    """
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(boxes)]
    usual = float(np.median(gaps)) if len(gaps) > 2 else 0.0
    return [False, *(gap > max(_SPACE * height, _WIDE * usual) for gap in gaps)][: len(boxes)]
