"""Reading an image: what there is to recognize, and the page that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import UsageError
from dlkit.reading import colour, lines, ruling, square
from dlkit.reading.crops import OTHER
from dlkit.reading.page import Box, Digit, Line, Page
from dlkit.reading.signs import Found, Networks, Sign, find_signs
from dlkit.reading.single import plain
from dlkit.reading.unread import unread

MODES = ("auto", "single", "page")

_MNIST = (square.SIDE, square.SIDE)
_CROP = 0.35  # of an image: what takes more of it is the only thing that it shows
_BROAD = 1.15  # heights: what is wider may be several digits that touch
_ICON = 64  # pixels: an image that is smaller, with nothing found, is still one digit
_SURE_DIGIT = 0.9  # probability from which a photographed digit is read by nothing else
_SURE = 0.6  # probability from which a point, comma or minus is written as such
_INVENTED = 4  # digits that were found are outweighed by a quarter as many that are none
_Float = NDArray[np.float32]


class Answer(Protocol):
    """What the network says of one square."""

    @property
    def label(self) -> str: ...

    @property
    def probability(self) -> float: ...


@dataclass(frozen=True)
class Reading:
    """What there is to recognize in one image, or what was read already.

    Attributes:
        squares: uint8 (28, 28) each, or what the network takes, bright on black: the only
            digit, in one form or more; none where the page is known without.
        box: of the only digit.
        known: the page, where it is known; with squares, one digit that the networks for paper
            read, and of both the surer answer counts.
    """

    squares: list[images.UInt8]
    box: Box | None = None
    known: Page | None = None

    def page(self, answers: Sequence[Answer]) -> Page:
        """The page, from an answer for each square."""
        if self.known is not None and not self.squares:
            return self.known
        assert self.box is not None
        sums: dict[str, float] = {}
        for answer in answers:
            sums[answer.label] = sums.get(answer.label, 0.0) + answer.probability
        label = max(sums, key=sums.__getitem__)
        digit = Digit(label, sums[label] / len(answers), self.box)
        if self.known is not None and self.known.digits[0].probability > digit.probability:
            return self.known
        return Page((Line(label, (digit,)),), single=True)


def read(
    image: images.Image, mode: str, networks: Networks, size: tuple[int, int] = _MNIST
) -> Reading:
    """Find what there is to recognize.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, of any size.
        mode: ``single`` looks for one digit, ``page`` for lines of them, ``auto`` for either.
        networks: that look for digits and read them.
        size: height and width that the network for squares takes.

    Raises:
        UsageError: there is no such mode.
    """
    if mode not in MODES:
        raise UsageError(f"there is no mode '{mode}'", f"Use one of {', '.join(MODES)}")
    grey, seen = _seen(image, networks)
    squares: list[images.UInt8] = []
    found = plain(grey) if mode != "page" else None
    apart = found.signs if found is not None else ()
    alone = found is not None and found.share >= _CROP and found.broad <= _BROAD and not apart
    if found is not None and (mode == "single" or alone):
        squares = [images.fit(one, *size) for one in found.squares]
        if found.clean and (mode == "single" or not found.large):
            return Reading(squares, found.box)
    seen = find_signs(grey, networks, apart) if seen is None else seen
    digits = [sign for sign in seen.signs if sign.is_digit]
    several = mode == "auto" and sum(one.probability >= _SURE_DIGIT for one in digits) > 1
    if found is not None and squares and found.clean and not several:
        return Reading(squares, found.box)
    single = mode == "single" or (mode == "auto" and _has_one(seen.signs, digits, max(grey.shape)))
    if several or not (single or squares):
        return Reading([], known=_page(seen, grey))
    if not digits:
        return Reading(squares, found.box) if found is not None and squares else whole(grey, size)
    best = max(digits, key=lambda sign: sign.probability * sign.box[3] * _inner(sign, grey.shape))
    digit = _digit(best, grey.shape)
    known = Page((Line(digit.label, (digit,)),), single=True)
    sure = digit.probability >= _SURE_DIGIT
    return Reading([] if sure else squares, found.box if found is not None else None, known)


def _inner(sign: Sign, shape: tuple[int, ...]) -> float:
    """From 1 in the middle of an image to a half at its edges."""
    left, top, width, height = sign.box
    x, y = (2 * left + width) / shape[1] - 1, (2 * top + height) / shape[0] - 1
    return 1 - 0.5 * min(1.0, max(abs(x), abs(y)))


def whole(grey: images.UInt8, size: tuple[int, int] = _MNIST) -> Reading:
    """The whole image as one digit."""
    box = Box(0, 0, grey.shape[1], grey.shape[0])
    found = plain(grey, whatever=True)
    if found is not None:
        return Reading([images.fit(one, *size) for one in found.squares], box)
    return Reading([images.fit(images.fit(grey, square.SIDE, square.SIDE), *size)], box)


def _seen(image: images.Image, networks: Networks) -> tuple[images.UInt8, Found | None]:
    """The image in one channel; and what is in it, where that was chosen by it."""
    grey = colour.channel(image)
    axis = ruling.without_squares(image)
    if axis is None:
        return grey, None
    part = ruling.middle(grey.shape)  # what disturbs there disturbs elsewhere
    found = find_signs(grey[part], networks)
    without = find_signs(axis.levels(image[part]), networks)
    if _sure(without) > _sure(found):
        grey, found = axis.levels(image), without
    return grey, found if grey[part].shape == grey.shape else None


def _sure(found: Found) -> float:
    """How many digits there are, surely: those that may be none count against them."""
    return sum(1 - _INVENTED * (1 - one.probability) for one in found.signs if one.is_digit)


def _has_one(signs: list[Sign], digits: list[Sign], side: int) -> bool:
    """Whether an image of that many pixels a side shows one digit, rather than many or none."""
    if not digits:
        return side <= _ICON
    return len(digits) == len(signs) == 1


def _page(found: Found, grey: images.UInt8) -> Page:
    """Lines of the digits, with the signs, and the ink that was not read, that stand in them."""
    digits = [sign for sign in found.signs if sign.is_digit]
    if not digits:
        return Page(())
    signs = [*digits, *(sign for sign in found.signs if not sign.is_digit)]
    boxes = np.array([sign.box for sign in signs], np.float32)
    if found.pieces is not None:
        more = unread(grey, found.pieces, boxes, boxes[: len(digits)])
        signs += [Sign(OTHER, 0.0, tuple(box)) for box in more.tolist()]
        boxes = np.vstack([boxes, more])
    flat = lines.level(boxes, lines.tilt(boxes[: len(digits)]))
    rows = lines.lines(flat[: len(digits)])
    row_of = {place: number for number, row in enumerate(rows) for place in row}
    members: list[list[int]] = [list(row) for row in rows]
    for place in range(len(digits), len(boxes)):
        beside = lines.beside(flat[place], flat[: len(digits)])
        if beside is not None:
            members[row_of[beside[0]]].append(place)
    rows = [sorted(row, key=lambda one: _middle(flat[one])) for row in members]
    return Page(tuple(_line(row, signs, flat, grey.shape) for row in rows))


def _line(row: list[int], signs: list[Sign], flat: _Float, shape: tuple[int, ...]) -> Line:
    height = float(np.median([flat[one, 3] for one in row if signs[one].is_digit]))
    edges = [(float(flat[one, 0]), float(flat[one, 0] + flat[one, 2])) for one in row]
    text = ""
    for gap, one in zip(lines.spaces(edges, height), row, strict=True):
        sign = signs[one]
        sure = sign.is_digit or sign.probability >= _SURE
        text += (" " if gap else "") + (sign.label if sure else OTHER)
    return Line(text, tuple(_digit(signs[one], shape) for one in row
                            if signs[one].is_digit))  # fmt: skip


def _digit(sign: Sign, shape: tuple[int, ...]) -> Digit:
    """With its box in whole pixels, inside of the image."""
    left, top, width, height = sign.box
    x0 = min(max(0, int(np.floor(left + 0.2))), shape[1] - 1)
    y0 = min(max(0, int(np.floor(top + 0.2))), shape[0] - 1)
    x1 = min(max(x0 + 1, int(np.ceil(left + width - 0.2))), shape[1])
    y1 = min(max(y0 + 1, int(np.ceil(top + height - 0.2))), shape[0])
    return Digit(sign.label, sign.probability, Box(x0, y0, x1 - x0, y1 - y0))


def _middle(box: _Float) -> float:
    return float(box[0] + box[2] / 2)
