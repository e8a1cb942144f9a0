"""Connected strokes of ink: specks dropped, broken strokes joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.reading.page import Box

Float = NDArray[np.float32]
Labels = NDArray[np.int32]

_NOISE = 5.0  # standard deviations above the paper: ink is stronger
_FAINT = 0.2  # ink is stronger than this share of the strongest
_LOCAL = 0.45  # a stroke ends where its ink falls below this share of its own strength
_WEAK = 0.3  # of the usual strength: strokes that are weaker are stains
_LEAST = 6  # pixels: what is less high is no digit
_MOST = 20_000  # components that are looked at: the largest
_ALONG = 0.6  # of its length: what lies along the border of the image with more is no digit
_ACROSS = 0.95  # of the image: what is wider or higher is no digit
_SPECK = 0.35  # of the height of its neighbours: what is smaller alone is a dot or a dash
_SMALL = 0.3  # of the height of the page's digits: what is smaller is noise
_PART = 0.7  # of the height of its neighbours: what is smaller may be part of a digit
_NEAR = 0.08  # of its size: how close parts of the only digit of an image are
_SHARE = 0.08  # of its ink: how much they have
_GAP = 0.2  # of that height: between parts of one digit


@dataclass(frozen=True)
class Piece:
    """Ink that belongs together.

    Attributes:
        labels: of its components.
        box: around it.
        area: its pixels.
    """

    labels: tuple[int, ...]
    box: Box
    area: int


@dataclass(frozen=True)
class Strokes:
    """The components of an image.

    Attributes:
        ink: (H, W), share of light that the ink takes.
        labels: int32 (H, W), the component of each pixel; 0 is paper.
        levels: float32 (labels), how strong the ink of each is.
        pieces: what could be digits.
    """

    ink: Float
    labels: Labels
    levels: Float
    pieces: tuple[Piece, ...]

    def cut(self, piece: Piece) -> Float:
        """The ink of a piece alone, (height, width) of its box with a pixel around, 0 to 1."""
        x, y, width, height = piece.box
        rows, columns = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
        there = self.labels[rows, columns]
        own = (there == piece.labels[0]).astype(np.uint8)
        for label in piece.labels[1:]:
            own |= there == label
        # The soft edge of a stroke lies just outside.
        own = cv2.dilate(own, np.ones((3, 3), np.uint8))
        level = float(self.levels[list(piece.labels)].max())
        return np.asarray((self.ink[rows, columns] / level).clip(0, 1) * own, np.float32)


def find(ink: Float) -> Strokes:
    """Components of ink, each with a threshold of its own.

    Args:
        ink: from ``ink.strength``.
    """
    step = 1 + ink.size // 1_000_000
    some = np.sort(ink.reshape(-1)[::step])
    middle, low = some[len(some) // 2], some[int(len(some) * 0.16)]
    top = float(some[-max(1, len(some) // 500) :].mean())
    threshold = max(_NOISE * float(middle - low), _FAINT * top, 1e-3)
    count, labels = cv2.connectedComponents((ink > threshold).astype(np.uint8), connectivity=8)
    levels = _levels(ink, np.asarray(labels, np.int32), count)
    mask = (ink > (_LOCAL * levels)[labels]) & (labels > 0)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    levels = _levels(ink, labels, count)
    keep = stats[:, cv2.CC_STAT_AREA] >= _LEAST
    keep[0] = False
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    size = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    shadows = np.bincount(rim, minlength=count) > _ALONG * size
    shadows[0] = False
    if shadows.any():  # also from the ink, which may be turned and looked at again
        keep &= ~shadows
        ink = ink * ~shadows[labels]
    if keep.any():
        areas = stats[keep, cv2.CC_STAT_AREA].astype(np.float64)
        keep &= levels >= _WEAK * _middle(levels[keep], areas)
    found = np.flatnonzero(keep)
    found = found[np.argsort(-stats[found, cv2.CC_STAT_AREA], kind="stable")[:_MOST]]
    pieces = tuple(
        Piece((label,), Box(x, y, width, height), area)
        for label, (x, y, width, height, area) in zip(
            found.tolist(), stats[found].tolist(), strict=True
        )
    )
    return Strokes(ink, np.asarray(labels, np.int32), levels, pieces)


def digits(pieces: tuple[Piece, ...]) -> list[Piece]:
    """Pieces that can be digits: parts of one joined, specks and rules dropped."""
    joined = _join(pieces)
    if not joined:
        return []
    heights = local_heights(joined)
    usual = _middle(
        np.array([piece.box.height for piece in joined], np.float64),
        np.array([piece.area for piece in joined], np.float64),
    )
    found = []
    for piece, height in zip(joined, heights, strict=True):
        box = piece.box
        speck = box.height < max(_LEAST, _SPECK * height, _SMALL * usual)
        flat = box.width > 4 * box.height and box.height < _PART * height
        if not (speck or flat or box.height > 3.5 * height or box.width > 40 * box.height):
            found.append(piece)
    return found


def main(strokes: Strokes, pieces: Sequence[Piece]) -> Piece:
    """The digit of an image that has but one: the most ink, and what is close to it.

    What lies along the border is rather a shadow or the edge of the paper.
    """
    height, width = strokes.ink.shape

    def ink(piece: Piece) -> float:
        x, y, wide, tall = piece.box
        rim = wide * ((y == 0) + (y + tall == height)) + tall * ((x == 0) + (x + wide == width))
        across = wide > _ACROSS * width or tall > _ACROSS * height
        strong = piece.area * float(strokes.levels[piece.labels[0]])
        return strong * (0.1 if rim > max(wide, tall) / 2 or across else 1.0)

    left = sorted(pieces, key=ink, reverse=True)
    found, most = left[0], ink(left[0])
    for piece in left[1:]:
        size = max(found.box.width, found.box.height)
        if ink(piece) >= _SHARE * most and _distance(found.box, piece.box) <= _NEAR * size:
            found = _union(found, piece)
    return found


def _distance(one: Box, other: Box) -> int:
    """Between two boxes, along the axis on which it is larger; 0 where they overlap."""
    aside = max(one.x - other.x - other.width, other.x - one.x - one.width)
    above = max(one.y - other.y - other.height, other.y - one.y - one.height)
    return max(aside, above, 0)


def local_heights(pieces: list[Piece]) -> NDArray[np.float64]:
    """The usual height of what stands beside each piece, itself included."""
    if not pieces:
        return np.empty(0)
    boxes = np.array([piece.box for piece in pieces], np.float64)
    x, y, width, height = boxes.T
    areas = np.array([piece.area for piece in pieces], np.float64)
    usual = _middle(height, areas)
    found = np.empty(len(pieces))
    for index in range(len(pieces)):
        reach = 8 * max(usual, height[index])
        near = (
            (np.abs(x + width / 2 - x[index] - width[index] / 2) < reach)
            & (y < y[index] + height[index])
            & (y + height > y[index])
        )
        found[index] = _middle(height[near], areas[near])
    return found


def _join(pieces: tuple[Piece, ...]) -> list[Piece]:
    """Parts of a digit, which are small and close to something, become one piece with it."""
    left = list(pieces)
    for _ in range(2):  # a digit in three parts needs two rounds
        left.sort(key=lambda piece: -piece.area)
        heights = local_heights(left)
        boxes = np.array([piece.box for piece in left], np.float64).reshape(-1, 4)
        gone: set[int] = set()
        for index in range(len(left) - 1, 0, -1):
            if left[index].box.height >= _PART * heights[index]:
                continue
            other = _host(boxes, index, heights[index])
            if other is not None and other not in gone:
                left[other] = _union(left[other], left[index])
                boxes[other] = left[other].box
                gone.add(index)
        if not gone:
            break
        left = [piece for index, piece in enumerate(left) if index not in gone]
    return left


def _host(boxes: NDArray[np.float64], index: int, height: float) -> int | None:
    """Which larger piece a small one belongs to."""
    x, y, width, tall = boxes[index]
    xs, ys, widths, talls = boxes[:index].T
    aside = np.maximum(np.maximum(xs - (x + width), x - (xs + widths)), 0)
    above = np.maximum(np.maximum(ys - (y + tall), y - (ys + talls)), 0)
    whole = np.maximum(ys + talls, y + tall) - np.minimum(ys, y)
    wide = np.maximum(xs + widths, x + width) - np.minimum(xs, x)
    # Beside it only a hand's breadth, above and below more; and together no more than a digit.
    fits = (
        (aside <= _GAP / 2 * height)
        & (above <= _GAP * height)
        & (whole <= 1.3 * height)
        & (wide <= np.maximum(1.15 * widths, 1.35 * height))
        & (talls >= 0.3 * height)
    )
    if not fits.any():
        return None
    distance = np.where(fits, aside + above, np.inf)
    return int(distance.argmin())


def _union(one: Piece, other: Piece) -> Piece:
    x, y = min(one.box.x, other.box.x), min(one.box.y, other.box.y)
    right = max(part.box.x + part.box.width for part in (one, other))
    bottom = max(part.box.y + part.box.height for part in (one, other))
    box = Box(x, y, right - x, bottom - y)
    return Piece(one.labels + other.labels, box, one.area + other.area)


def _levels(ink: Float, labels: Labels, count: int) -> Float:
    """The mean of each component's ink, weighted by itself, so that soft edges count little."""
    where = labels > 0
    own, values = labels[where], ink[where].astype(np.float64)
    sums = np.bincount(own, values, count)
    squares = np.bincount(own, values * values, count)
    return np.asarray(squares / np.maximum(sums, 1e-9), np.float32).clip(1e-6, None)


def _middle(values: NDArray[np.floating], weights: NDArray[np.float64]) -> float:
    """The weighted median."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])
