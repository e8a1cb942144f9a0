"""Writing: numbers and signs put on a sheet, line by line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from dlkit.paper import marks
from dlkit.paper.page import OTHER, Digits, Float, Random, UInt8
from dlkit.paper.pens import EDGE, Pen, glyph

_OVERLAP = 60  # of 255: ink in which two digits meet


class Hull(NamedTuple):
    """A sign on the sheet.

    Attributes:
        text: as ``Sign`` has it.
        points: float32 (N, 2), the convex hull of its ink in pixels.
    """

    text: str
    points: Float


class Row(NamedTuple):
    """A written line: its text, its signs from the left, the pairs of digits that touch."""

    text: str
    hulls: list[Hull]
    touching: int


@dataclass(frozen=True)
class Writer:
    """Writes on a canvas.

    Attributes:
        ink: uint8 (H, W): what was written.
        tall: height of the digits in pixels.
        marks: share of the numbers that have other signs in or beside them.
        letters: of these, the share with a letter, a word or a scribble.
        words: of these, the share that are words.
        touching: share of neighbouring digits that touch.
        wide: how many times as wide digits are drawn, from and to.
        sparse: the sheet has a few signs alone.
    """

    digits: Digits
    random: Random
    ink: UInt8
    tool: Pen
    tall: float
    marks: float = 0.0
    letters: float = 0.1
    words: float = 0.0
    touching: float = 0.0
    wide: tuple[float, float] = (0.85, 1.15)
    sparse: bool = False

    def line(self, left: float, right: float, top: float) -> Row:
        """Numbers between two columns; ``top`` is that of the digits."""
        random, tall = self.random, self.tall * self.random.uniform(0.85, 1.15)
        gap = tall * random.choice([random.uniform(0.06, 0.35), random.uniform(0.3, 0.9)])
        space = 2 * gap + tall * random.uniform(0.7, 1.4)
        x, text, pairs = left, "", 0
        hulls: list[Hull] = []
        for _ in range(int(random.integers(1, 6))):
            number = self._number()
            before: tuple[int, float] | None = None
            for place, letter in enumerate(number):
                ink, down = self._drawn(letter, tall)
                step = space if text and not place else gap * random.uniform(0.7, 1.3)
                if letter in ".," or (place and number[place - 1] in ".,"):
                    step *= 0.6
                met = before is not None and letter.isdigit() and random.random() < self.touching
                y = top + down + tall * random.uniform(-0.05, 0.05)
                if met and before is not None:
                    start = self._meeting(ink, int(y), *before)
                else:
                    start = x + (step if text else 0.0)
                if start + ink.shape[1] > right:
                    return Row(text.rstrip(), hulls, pairs)
                hulls.append(self.put(letter, ink, start, y))
                text += (" " if text and not place else "") + letter
                pairs += met
                x = start + ink.shape[1]
                before = (int(start), x) if letter.isdigit() else None
        return Row(text, hulls, pairs)

    def cell(self, left: float, top: float, width: float, height: float, letter: str) -> Hull:
        """One sign in the middle of a cell, more or less."""
        random = self.random
        ink, down = self._drawn(letter, self.tall * random.uniform(0.85, 1.1))
        x = left + (width - ink.shape[1]) / 2 + random.normal(0, 0.07) * width
        y = top + (height - ink.shape[0]) / 2 + random.normal(0, 0.06) * height
        if not letter.isdigit():
            y = top + (height - self.tall) / 2 + down
        return self.put(letter, ink, x, y)

    def put(self, letter: str, ink: UInt8, x: float, y: float) -> Hull:
        """Ink on the canvas, its corner at x, y."""
        left, top = max(0, round(x)), max(0, round(y))
        spot = self.ink[top : top + ink.shape[0], left : left + ink.shape[1]]
        ink = ink[: spot.shape[0], : spot.shape[1]]
        np.maximum(spot, ink, out=spot)
        ys, xs = np.nonzero(ink > EDGE)
        points = (
            np.stack([xs, ys], 1).astype(np.float32) if len(ys) else np.zeros((1, 2), np.float32)
        )
        hull = np.asarray(cv2.convexHull(points), np.float32)[:, 0]
        return Hull(letter, hull + np.array([left, top], np.float32))

    def digit(self) -> str:
        """Any digit."""
        labels = self.digits.labels
        return str(int(labels[int(self.random.integers(len(labels)))]))

    def _drawn(self, letter: str, tall: float) -> tuple[UInt8, float]:
        """A sign's ink, and how far its top is below that of the line's digits."""
        random = self.random
        if letter.isdigit():
            index = self._one_of(int(letter))
            ink = glyph(self.digits.images[index], tall, self.tool, random,
                        random.uniform(*self.wide))  # fmt: skip
            return ink, tall - ink.shape[0] if random.random() < 0.5 else (tall - len(ink)) / 2
        width = self.tool.width * random.choice([1.0, random.uniform(0.8, 1.8)])
        if letter == OTHER and self.words and random.random() < self.words:
            found = marks.word(random, tall, width)
        else:
            found = marks.mark(random, letter, tall, width)
        return found.ink, found.top

    def _one_of(self, label: int) -> int:
        while True:
            index = int(self.random.integers(len(self.digits.labels)))
            if int(self.digits.labels[index]) == label:
                return index

    def _number(self) -> str:
        random = self.random
        number = "".join(self.digit() for _ in range(int(random.integers(1, 8))))
        if random.random() >= self.marks:
            return number
        kind = random.random() * 0.9 / (1 - self.letters)
        if kind < 0.55:
            sign = str(random.choice(list(marks.BETWEEN), p=[0.25, 0.3, 0.15, 0.2, 0.1]))
            more = "".join(self.digit() for _ in range(int(random.integers(1, 4))))
            number = number[:4] + sign + more
            if sign in "/-:" and random.random() < 0.4:
                number += sign + self.digit() + self.digit()
        elif kind < 0.68:
            number = str(random.choice(list(marks.JOINING))).join((number[:3], self.digit()))
        elif kind < 0.8:
            number = str(random.choice(list(marks.BEFORE))) + number
        elif kind < 0.9:
            number += str(random.choice(list(marks.BEHIND)))
        else:
            place = int(random.integers(len(number) + 1))
            number = number[:place] + OTHER + number[place:]
        return number

    def _meeting(self, ink: UInt8, top: int, left: int, right: float) -> float:
        """Where ink must begin so that it just runs into that between two columns."""
        end = int(right)
        there = self.ink[top : top + ink.shape[0], left:end] > _OVERLAP
        gaps = [
            (end - left - 1 - row.nonzero()[0][-1]) + mine.nonzero()[0][0]
            for row, mine in zip(there, ink > EDGE, strict=False)
            if row.any() and mine.any()
        ]
        return float(right - (min(gaps) if gaps else 0) - max(1.0, 0.04 * ink.shape[0]))
