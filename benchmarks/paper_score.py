"""What of a page is read right.

What is read is compared with what is written by edit distance, line breaks included: what is
missed, wrong, too much, in the wrong order or in the wrong line counts against it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from dlkit.paper import Page, Sign
from dlkit.reading import page as read_page
from dlkit.tasks.recognize.paper_crops import overlap

# Intersection over union of a read digit and a written sign: a stroke's box is taken for at least
# so many of its heights wide.
SAME, _NARROW = 0.3, 0.4
_SIGNS = re.compile(r"[^0-9\n]+")


@dataclass
class Score:
    """How a set was read.

    Attributes:
        digits: that are written.
        wrong: edits from what was read to what is written.
        lines, whole: that are written; of them read right, digit by digit.
        marks, taken: signs that are no digits; of them read as digits.
        lost: digits that nothing was read at.
        signs, said, in_vain: places between digits where other signs are; of them those at which
            the text has something; and those where it has something else than what is written by
            hand: nothing, a printed word, a digit that was lost.
        sure, sure_wrong: digits read with a probability of 0.9 or more; of them wrong.
        unsure, unsure_wrong: the others; of them wrong.
    """

    images: int = 0
    digits: int = 0
    wrong: int = 0
    lines: int = 0
    whole: int = 0
    marks: int = 0
    taken: int = 0
    lost: int = 0
    signs: int = 0
    said: int = 0
    in_vain: int = 0
    sure: int = 0
    sure_wrong: int = 0
    unsure: int = 0
    unsure_wrong: int = 0
    seconds: float = 0.0
    worst: tuple[float, int] = field(default=(0.0, 0))

    @property
    def share(self) -> float:
        """Of digits that are right, in percent."""
        return 100 * (1 - self.wrong / max(self.digits, 1))


def compare(score: Score, made: Page, page: read_page.Page) -> None:
    """Count what is right and wrong on one page."""
    written = [only(line.text) for line in made.lines]
    written = [line for line in written if line]
    read = [only("".join(digit.label for digit in line.digits)) for line in page.lines]
    score.images += 1
    score.digits += sum(map(len, written))
    score.wrong += edits("\n".join(written), "\n".join(read))
    score.lines += len(written)
    left = list(read)
    for line in written:
        if line in left:
            left.remove(line)
            score.whole += 1
    _compare_signs(score, [line.text for line in made.lines], [line.text for line in page.lines])
    signs = made.signs
    same = alike(page, signs)
    is_digit = np.array([sign.is_digit for sign in signs], bool)
    score.marks += int((~is_digit).sum())
    score.lost += int((same.max(axis=0, initial=0) < SAME)[is_digit].sum())
    for digit, row in zip(page.digits, same, strict=True):
        right = False
        if len(row):
            best = int(row.argmax())
            right = row[best] >= SAME and signs[best].text == digit.label
            score.taken += row[best] > 0.15 and not signs[best].is_digit
        if digit.probability >= 0.9:
            score.sure += 1
            score.sure_wrong += not right
        else:
            score.unsure += 1
            score.unsure_wrong += not right


def alike(page: read_page.Page, signs: Sequence[Sign]) -> NDArray[np.float32]:
    """What read digits (rows) and written signs (columns) share."""
    truth = np.array([sign.box for sign in signs], np.float32).reshape(-1, 4)
    boxes = np.array([digit.box for digit in page.digits], np.float32).reshape(-1, 4)
    tall = [sign.box[3] for sign in signs if sign.is_digit]
    return overlap(boxes, truth, _NARROW * float(np.median(tall)) if tall else 0.0)


def _compare_signs(score: Score, written: list[str], read: list[str]) -> None:
    """Count where other signs than digits are, and where the text says so, whatever they are."""
    there, said = (_SIGNS.sub("?", "\n".join(text).replace(" ", "")) for text in (written, read))
    same = SequenceMatcher(None, there, said, autojunk=False).get_matching_blocks()
    found = sum(there[at : at + long].count("?") for at, _, long in same)
    score.signs += there.count("?")
    score.said += found
    score.in_vain += said.count("?") - found


def only(text: str) -> str:
    """The digits of a text."""
    return "".join(letter for letter in text if letter in "0123456789")


def edits(written: Sequence[str], read: Sequence[str]) -> int:
    """The least number of insertions, deletions and replacements (Levenshtein)."""
    before = list(range(len(read) + 1))
    for row, letter in enumerate(written, 1):
        now = [row]
        for column, other in enumerate(read, 1):
            same = before[column - 1] + (letter != other)
            now.append(min(before[column] + 1, now[-1] + 1, same))
        before = now
    return before[-1]


def add(total: Score, more: Score) -> None:
    """Add one score to another."""
    for name in vars(total):
        if name != "worst":
            setattr(total, name, getattr(total, name) + getattr(more, name))
