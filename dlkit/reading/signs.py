"""Digits and other signs in an image: what the finder and the reader take them for together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.reading import finder, ink
from dlkit.reading.crops import LABELS, NONE, OTHER, Scales, line_heights, looks

_THERE, _THERE_MARK = 0.2, 0.1  # chance that it is one times its probability: digits, others
_ALIKE = 1.7  # sizes that differ by less are alike
_RARE = 0.05  # of the most that are alike: fewer are no digits of that page
_TRUST = 0.1  # power of the finder's chance of another sign: the reader sees more of it
# A piece of ink is what the finder saw where they share so much; it holds what has so much in it.
# So sure digits in it that share no more than that are several that touch.
_SAME, _HELD, _SURE, _SHARED = 0.75, 0.7, 0.85, 0.12
_CERTAIN = 0.9  # probability below which a sign is looked at again,
_LOOKS = (0.88, 1.14)  # as if it were so many times as large
# A sign that is taken for a digit is worse than a digit that is taken for a sign: the chance of
# another sign counts so many times as much; that of a 1 too, which is lost most easily.
_DOUBT, _ONE = 3.0, 2.0
_DIGITS = np.array([label.isdigit() for label in LABELS])
_SIGN = LABELS.index(OTHER)
_STROKE = LABELS.index("1")
_NOTHING = LABELS.index(NONE)
_Float = NDArray[np.float32]


class Networks(Protocol):
    """The networks that look for digits and read them."""

    def find(self, pixels: images.UInt8) -> _Float:
        """uint8 (1, H, W) to float32 (1, 6, H / 4, W / 4)."""
        ...

    def read(self, crops: images.UInt8) -> _Float:
        """uint8 (N, 32, 32) to float32 (N, 15): probabilities of ``LABELS``."""
        ...


@dataclass(frozen=True)
class Sign:
    """What is taken for a digit, a point, a comma, a minus or another sign.

    Attributes:
        label: one of ``dlkit.reading.crops.LABELS``, but for none.
        probability: of that label, 0 to 1.
        box: left, top, width and height in the image's pixels.
    """

    label: str
    probability: float
    box: tuple[float, float, float, float]

    @property
    def is_digit(self) -> bool:
        """Rather than a sign of another kind."""
        return self.label.isdigit()


@dataclass(frozen=True)
class Found:
    """What there is in an image.

    Attributes:
        signs: what both networks together take for digits and other signs.
        pieces: of ink, read or not; None where the finder found nothing.
    """

    signs: list[Sign]
    pieces: ink.Pieces | None = None


def find_signs(
    grey: images.UInt8, networks: Networks, known: Sequence[tuple[float, ...]] = ()
) -> Found:
    """Find and read what there is in an image.

    Args:
        known: left, top, width and height of a digit, and of signs beside it of whatever kind,
            where that is all there is; the finder is not asked then.
    """
    if known:
        found = np.ones((len(known), 6), np.float32)
        found[:, :4], found[0, 5] = known, 0
    else:
        found = finder.find(grey, networks.find, parts=True)
    if not len(found):
        return Found([])
    pieces = ink.pieces(grey)
    whole = pieces.boxes[pieces.like_digits]
    boxes, chances, read = _with_wholes(grey, found, whole, networks)
    label, sure = _judged(chances, read)
    there = _stay(boxes, chances, label, sure)
    signs = [
        Sign(LABELS[label[place]], float(sure[place]), tuple(boxes[place].tolist()))
        for place in np.flatnonzero(there).tolist()
    ]
    return Found(signs, pieces)


def _with_wholes(
    grey: images.UInt8, found: _Float, pieces: _Float, networks: Networks
) -> tuple[_Float, _Float, _Float]:
    """What was found, and the digits that the finder saw in parts: read.

    Returns:
        boxes (N, 4), the finder's chances (N, 2) and the reader's probabilities (N, 15).
    """
    boxes, chances = found[:, :4], found[:, 4:]
    digit = chances[:, 0] > chances[:, 1]
    heights = line_heights(boxes, finder.whole(found) & digit)
    scales = Scales(grey)
    read = networks.read(looks(scales, boxes, heights))
    unsure = np.flatnonzero(read.max(axis=1) < _CERTAIN)
    if len(unsure):  # they are looked at once more, from nearer and from farther
        nearer = [looks(scales, boxes[unsure], heights[unsure], times) for times in _LOOKS]
        again = networks.read(np.concatenate(nearer)).reshape(len(_LOOKS), len(unsure), -1)
        read[unsure] = (read[unsure] + again.sum(axis=0)) / (1 + len(_LOOKS))
    sure = digit & _DIGITS[read.argmax(axis=1)] & (read.max(axis=1) >= _SURE)
    wholes, parts = _wholes(pieces, boxes, digit, sure)
    if not len(wholes):
        return boxes, chances, read
    whole = networks.read(looks(scales, wholes, heights[[part[0] for part in parts]]))
    certain = np.flatnonzero(_DIGITS[whole.argmax(axis=1)] & (whole.max(axis=1) >= _CERTAIN))
    likeliest = [chances[parts[one]].max(axis=0)[None] for one in certain.tolist()]
    return (
        np.vstack([boxes, wholes[certain]]),
        np.vstack([chances, *likeliest]),
        np.vstack([read, whole[certain]]),
    )


def _judged(chances: _Float, read: _Float) -> tuple[NDArray[np.intp], _Float]:
    """Of each sign the place of its label in ``LABELS``, and the probability of that."""
    share = chances / chances.max(axis=1)[:, None]
    # where the finder sees another sign rather than a digit, the reader must be the surer of one
    both = read * np.where(_DIGITS, share[:, :1], share[:, 1:] ** _TRUST)
    both[:, _NOTHING] = read[:, _NOTHING]
    both[:, _SIGN] *= _DOUBT
    both[:, _STROKE] *= _ONE
    both /= both.sum(axis=1, keepdims=True)
    return both.argmax(axis=1), both.max(axis=1)


def _stay(
    boxes: _Float, chances: _Float, label: NDArray[np.intp], sure: _Float
) -> NDArray[np.bool_]:
    """Which are signs: likely ones, of a size with the others, no parts of others."""
    weights = chances.max(axis=1) * sure
    there: NDArray[np.bool_] = label != _NOTHING
    there &= weights >= np.where(_DIGITS[label], _THERE, _THERE_MARK)
    digit = there & _DIGITS[label]
    there &= ~digit | _fits(boxes, weights, digit)
    # a part of a digit may be read as another sign: what one network takes for a digit takes part
    either = np.flatnonzero(there & (digit | (chances[:, 0] > chances[:, 1])))
    there[either] = _whole_ones(boxes[either], np.where(digit, weights, 0.0)[either])
    marks = np.flatnonzero(there & ~digit)
    there[marks] = ~_hold(boxes[marks], boxes[there & digit])
    return there


def _wholes(
    pieces: _Float, boxes: _Float, digit: NDArray[np.bool_], sure: NDArray[np.bool_]
) -> tuple[_Float, list[NDArray[np.intp]]]:
    """Pieces of ink that the finder saw in parts, or with what is beside them.

    Of a piece in which sure digits stand apart these are right: digits may touch.

    Returns:
        (N, 4), and for each the places of the digits in it.
    """
    places = np.flatnonzero(digit)
    found = boxes[places]
    same = finder.close(finder.overlap, pieces, _SAME, found)
    held = finder.close(finder.inside, pieces, _HELD, found)
    wholes, parts = [], []
    for piece, (alike, inner) in enumerate(zip(same, held, strict=True)):
        if len(inner) and not len(alike) and not _apart(boxes[places[inner]], sure[places[inner]]):
            wholes.append(piece)
            parts.append(places[inner])
    return pieces[wholes], parts


def _apart(boxes: _Float, sure: NDArray[np.bool_]) -> bool:
    """Whether several of some digits are sure and share little with each other."""
    boxes = boxes[sure]
    shared = finder.inside(boxes, boxes)
    np.fill_diagonal(shared, 0)
    return len(boxes) > 1 and bool(shared.max() < _SHARED)


def _hold(boxes: _Float, digits: _Float) -> NDArray[np.bool_]:
    """In which of some boxes digits lie: these are no signs, but what is around digits."""
    larger = boxes[:, 2:].prod(axis=1)[:, None] > digits[:, 2:].prod(axis=1)
    held = finder.inside(boxes, digits) > finder.WITHIN
    return np.asarray((larger & held).any(axis=1), bool)


def _whole_ones(boxes: _Float, weights: _Float) -> NDArray[np.bool_]:
    """Which signs are no parts of others, and hold no others: of a large box and what lies in it,
    the surer one stays, or the several that are surer on average."""
    kept = np.ones(len(boxes), bool)
    areas = boxes[:, 2:].prod(axis=1)
    near = finder.close(finder.inside, boxes, finder.WITHIN)
    for place in np.argsort(-areas, kind="stable").tolist():
        held = near[place][kept[near[place]]]
        held = held[areas[held] < areas[place]]
        if len(held) > 1 and weights[held].mean() > weights[place]:
            kept[place] = False
    for place in np.argsort(-weights, kind="stable").tolist():
        if kept[place]:
            kept[near[place]] = False
    return kept


def _fits(boxes: _Float, weights: _Float, digit: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which signs are not much larger or smaller than the digits of the page, unless many are."""
    sizes = np.maximum(boxes[:, 3], 0.6 * boxes[:, 2])
    order = np.argsort(sizes)
    rising = sizes[order]
    sums = np.concatenate([[0.0], np.cumsum(np.where(digit, weights, 0.0)[order])])
    first = np.searchsorted(rising, sizes / _ALIKE, side="right")
    alike = sums[np.searchsorted(rising, sizes * _ALIKE)] - sums[first]
    return np.asarray(alike >= _RARE * alike.max(initial=0.0))
