"""How far each channel of an output is off, against how much that channel varies.

Differences relative to the largest value of an output say nothing of what is small in it: scores of
0 to 1 beside boxes in pixels, the chances of a hundred classes. So each index along each axis but
the first is a channel, and its error (root mean square) is relative to its own spread over all
inputs: 1 is what a constant would reach, 1.4 what has nothing to do with the reference, 2 its
opposite. float16, bfloat16 and eight bits by channel round values relative to their own size, so
this holds for small channels as for large ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW = 8  # a spread that comes of fewer values is chance: such channels are taken together
# What hardly varies is rounded in its own size, or in that of what it was summed up with.
_OF_SIZE = 0.1  # least spread, of a channel's root mean square
_OF_OUTPUT = 1e-4  # and of the largest value of the output
_FILLED = 1e4  # of the median: what both have there, of that size, is what a mask filled in
_MOST = 100.0  # what is constant has no spread to be relative to


@dataclass(frozen=True)
class Channel:
    """The channel that is furthest off.

    Attributes:
        name: as numpy indexes it, e.g. ``scores[:, 3]``; the output's alone for all of it.
        error: root mean square, as a share of its spread; less what chance adds where the spread
            comes of few values.
    """

    name: str
    error: float


def worst_channel(
    name: str, wanted: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]]
) -> Channel:
    """Of one output, over several calls.

    Args:
        wanted, got: arrays of the same shapes, one a call; values that are not finite are passed
            over, and so is what a mask filled in.
    """
    filled = _FILLED * _median(wanted)
    pairs = [_finite(one, other, filled) for one, other in zip(wanted, got, strict=True)]
    scale = max((float(np.abs(one).max(initial=0)) for one, _ in pairs), default=0.0)
    whole = float(np.sqrt(_mean(np.square(one).ravel() for one, _ in pairs)))
    worst = Channel(name, 0.0)
    for axis in range(min((one.ndim for one, _ in pairs), default=0)):
        rows = [(_rows(one, axis), _rows(other, axis)) for one, other in pairs]
        if len({len(one) for one, _ in rows}) > 1:
            continue  # of any length: its indices mean nothing
        ours, theirs = (np.concatenate(part, axis=1) for part in zip(*rows, strict=True))
        if ours.shape[1] < _FEW:
            continue
        shares, rare = _shares(ours, theirs, scale, whole)
        place = int(shares.argmax())
        if shares[place] > worst.error:
            worst = Channel(_label(name, pairs[0][0].ndim, axis, place), float(shares[place]))
        if rare > worst.error:
            worst = Channel(f"{name}, what is seldom far from its mean along axis {axis}", rare)
    return worst


def _shares(
    ours: NDArray[Any], theirs: NDArray[Any], scale: float, whole: float
) -> tuple[NDArray[Any], float]:
    """Errors by channel, (channels, values); and that of those together whose spread comes of a
    few values."""
    count = ours.shape[1]
    spread = np.square(ours - ours.mean(axis=1, keepdims=True))
    energy, gone = spread.sum(axis=1), np.square(ours - theirs).sum(axis=1)
    fourth = np.square(spread).sum(axis=1)
    size = np.sqrt(np.square(ours).mean(axis=1))
    few = np.square(energy) < _FEW * fourth  # as many values as would make such a spread
    few |= energy == 0
    least = np.maximum(_OF_SIZE * size, _OF_OUTPUT * scale)
    shares = _share(gone / count, energy / count, least)
    shares /= _doubt(np.where(few, _FEW, energy**2 / np.where(fourth > 0, fourth, 1)))
    shares[few] = 0.0
    if not few.any():
        return shares, 0.0
    values, together = few.sum() * count, energy[few].sum()
    floor = max(_OF_SIZE * float(np.sqrt(np.square(size[few]).mean())), _OF_OUTPUT * scale)
    many = together**2 / fourth[few].sum() if together > 0 else 0.0
    if many < _FEW:  # not even together: only all of the output is known
        floor = max(floor, _OF_SIZE * whole)
    rare = _share(gone[few].sum() / values, together / values, np.array(floor))
    return shares, float(rare / _doubt(np.array(max(many, _FEW))))


def _doubt(values: NDArray[Any]) -> NDArray[Any]:
    """How much more an error may be by chance, two deviations of what so many values measure."""
    return np.asarray(1 + 2 / np.sqrt(values))


def _share(gone: Any, energy: Any, least: NDArray[Any]) -> NDArray[Any]:
    """Roots of mean squares beside each other."""
    spread = np.maximum(np.sqrt(energy), least)
    error = np.sqrt(gone)
    nothing = np.where(error > 0, _MOST, 0.0)
    shares = np.divide(error, spread, out=nothing, where=spread > 0)
    return np.asarray(np.minimum(shares, _MOST))


def _finite(
    one: NDArray[Any], other: NDArray[Any], filled: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    ours, theirs = one.astype(np.float64), other.astype(np.float64)
    gone = ~(np.isfinite(ours) & np.isfinite(theirs))
    gone |= (ours == theirs) & (np.abs(ours) > filled)
    if gone.any():
        ours[gone] = theirs[gone] = 0.0
    return ours, theirs


def _median(arrays: Sequence[NDArray[Any]]) -> float:
    """Of the sizes of what is not 0; infinite where all is."""
    sizes = np.abs(np.concatenate([one.ravel() for one in arrays]).astype(np.float64))
    sizes = sizes[sizes > 0]
    return float(np.median(sizes)) if sizes.size else np.inf


def _rows(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """(channels, values); along the first axis, which is the batch, all is one channel."""
    if axis == 0:
        return array.reshape(1, -1)
    size = array.shape[axis]
    return np.moveaxis(array, axis, 0).reshape(size, array.size // max(size, 1))


def _mean(parts: Iterable[NDArray[Any]]) -> float:
    values = np.concatenate(list(parts))
    return float(values.mean()) if values.size else 0.0


def _label(name: str, dimensions: int, axis: int, place: int) -> str:
    if axis == 0:
        return name
    inside = [":"] * dimensions
    inside[axis] = str(place)
    return f"{name}[{', '.join(inside)}]"
