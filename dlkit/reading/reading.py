"""Reading an image: what there is to recognize, and the page from the network's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import UsageError
from dlkit.reading import colour, components, deskew, ink, lines, split, square
from dlkit.reading.components import Piece, Strokes
from dlkit.reading.page import Box, Digit, Line, Page

MODES = ("auto", "single", "page")

_MNIST = (square.SIDE, square.SIDE)
WORK_PIXELS = 4_000_000  # an image is read at no more: a digit of 3 mm on A4 then has 24 pixels
_SMALL = 160  # pixels of the longer side: smaller images are enlarged to about this
_BROAD = 2.0  # heights: what is wider is rather several digits that touch
_STRAIGHT = 0.3  # degrees: lines that tilt less are left
_ICON = 64  # pixels: an image that is smaller, with nothing found, is still one digit


class Answer(Protocol):
    """What the network says of one square."""

    @property
    def label(self) -> str: ...

    @property
    def probability(self) -> float: ...


@dataclass(frozen=True)
class Candidate:
    """A piece of ink: one digit, or several that touch."""

    parts: tuple[split.Part, ...]
    boxes: tuple[Box, ...]
    level: tuple[tuple[float, float], ...]  # left and right edge of each part on the level page
    first: int  # its first square


@dataclass(frozen=True)
class Reading:
    """What there is to recognize in one image.

    Attributes:
        squares: uint8 (28, 28) each, or what the network takes, bright on black.
        rows: the candidates by line, and the height of the line's digits.
        single: taken for the image of one digit.
    """

    squares: list[images.UInt8]
    rows: list[tuple[float, list[Candidate]]] = field(default_factory=list)
    single: bool = False

    def page(self, answers: Sequence[Answer]) -> Page:
        """The page, from an answer for each square."""
        found = []
        for height, candidates in self.rows:
            digits: list[Digit] = []
            edges: list[tuple[float, float]] = []
            for candidate in candidates:
                own = answers[candidate.first : candidate.first + len(candidate.parts)]
                for index in split.choose(candidate.parts, [one.probability for one in own]):
                    answer = own[index]
                    digits.append(Digit(answer.label, answer.probability, candidate.boxes[index]))
                    edges.append(candidate.level[index])
            gaps = lines.spaces(edges, height)
            text = "".join(
                (" " if gap else "") + digit.label for gap, digit in zip(gaps, digits, strict=True)
            )
            found.append(Line(text, tuple(digits)))
        return Page(tuple(found), self.single)


def read(image: images.Image, mode: str = "auto", size: tuple[int, int] = _MNIST) -> Reading:
    """Find what there is to recognize.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, of any size.
        mode: ``single`` looks for one digit, ``page`` for lines of them, ``auto`` for either.
        size: height and width that the network takes.

    Returns:
        no square where there is no digit; ``single`` then takes the whole image for one.

    Raises:
        UsageError: there is no such mode.
    """
    if mode not in MODES:
        raise UsageError(f"there is no mode '{mode}'", f"Use one of {', '.join(MODES)}")
    work, scale = _work(image)
    strokes = components.find(ink.strength(work))
    matrix = np.array([[1.0, 0, 0], [0, 1, 0]])
    pieces = components.digits(strokes.pieces)
    if mode != "single":
        degrees = deskew.angle(strokes, pieces)
        if abs(degrees) > _STRAIGHT:
            level, matrix = deskew.level(strokes.ink, degrees)
            strokes = components.find(level)
            pieces = components.digits(strokes.pieces)
    place = _Place(strokes, matrix, scale, image.shape[:2])
    if mode == "single" or (mode == "auto" and _has_one(pieces, max(image.shape[:2]))):
        found = _single(place, pieces, image)
    else:
        found = _page(place, pieces)
    found.squares[:] = [images.fit(pixels, *size) for pixels in found.squares]
    return found


def _has_one(pieces: list[Piece], side: int) -> bool:
    """Whether an image of that many pixels a side shows one digit, rather than many or none."""
    if not pieces:
        return side <= _ICON
    return len(pieces) == 1 and pieces[0].box.width <= _BROAD * pieces[0].box.height


@dataclass(frozen=True)
class _Place:
    """Strokes, and how their coordinates became those of the image."""

    strokes: Strokes
    matrix: NDArray[np.float64]
    scale: float
    shape: tuple[int, ...]

    def box(self, part: NDArray[np.float32], x: int, y: int) -> Box:
        """In the image's pixels: around the ink of a part whose corner is at x, y."""
        there = part > square.EDGE
        rows = np.flatnonzero(there.any(axis=1))
        # The ends of each row are all that a box needs, however it is turned.
        ends = [there[rows].argmax(axis=1), part.shape[1] - 1 - there[rows, ::-1].argmax(axis=1)]
        xs, ys = np.concatenate(ends), np.concatenate([rows, rows])
        points = np.stack([xs + x + 0.5, ys + y + 0.5], axis=1)
        back = cv2.invertAffineTransform(self.matrix)
        points = (points @ back[:, :2].T + back[:, 2]) / self.scale
        half = 0.5 / self.scale
        low = np.floor(points.min(axis=0) - half + 0.01).clip(0)
        high = np.ceil(points.max(axis=0) + half - 0.01).clip(None, self.shape[::-1])
        width, height = np.maximum(high - low, 1)
        return Box(int(low[0]), int(low[1]), int(width), int(height))


def _page(place: _Place, pieces: list[Piece]) -> Reading:
    reading = Reading([])
    for row in lines.lines(pieces):
        height = float(np.median([piece.box.height for piece in row]))
        candidates = []
        for piece in row:
            cut = place.strokes.cut(piece)
            parts, inks, starts = zip(*split.parts(cut, height), strict=True)
            left, y = max(piece.box.x - 1, 0), max(piece.box.y - 1, 0)
            edges, boxes = [], []
            for part, start in zip(inks, starts, strict=True):
                columns = left + start + np.flatnonzero(np.any(part > square.EDGE, axis=0))
                edges.append((float(columns[0]), float(columns[-1] + 1)))
                boxes.append(place.box(part, left + start, y))
            candidates.append(Candidate(parts, tuple(boxes), tuple(edges), len(reading.squares)))
            reading.squares.extend(map(square.mnist, inks))
        reading.rows.append((height, candidates))
    return reading


def _single(place: _Place, pieces: list[Piece], image: images.Image) -> Reading:
    """The largest piece; where there is none, the whole image as it is."""
    if pieces:
        piece = components.main(place.strokes, pieces)
        cut = place.strokes.cut(piece)
        box = place.box(cut, max(piece.box.x - 1, 0), max(piece.box.y - 1, 0))
        pixels = square.mnist(cut)
    else:
        height, width = image.shape[:2]
        box = Box(0, 0, width, height)
        pixels = images.fit(images.grey(image), square.SIDE, square.SIDE)
    only = Candidate((split.Part(0, 1, 1.0, 0.0),), (box,), ((0.0, 1.0),), 0)
    return Reading([pixels], [(1.0, [only])], single=True)


def _work(image: images.Image) -> tuple[images.UInt8, float]:
    """The image in one channel, in a size that is good to work with; and its scale."""
    height, width = image.shape[:2]
    scale = min(1.0, (WORK_PIXELS / (height * width)) ** 0.5)
    if max(height, width) < _SMALL:
        scale = float(-(-_SMALL // max(height, width)))
    if scale == 1:
        return colour.channel(image), scale
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    # Colours first where that is less work.
    if scale < 1:
        return colour.channel(cv2.resize(image, size, interpolation=how)), scale
    return np.asarray(cv2.resize(colour.channel(image), size, interpolation=how), np.uint8), scale
