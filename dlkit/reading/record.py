"""What the manifest and the table of a folder run keep of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dlkit.reading.page import Digit, Page

if TYPE_CHECKING:
    from dlkit.runtime.folders.result import Result
    from dlkit.tasks.recognize import Prediction

Record = dict[str, Any]


def line(result: Result) -> Record:
    """Fields of the manifest's line; none of what failed."""
    if result.error is not None:
        return {}
    if isinstance(result.answer, list):  # frames, pages
        return {"frames": [_answer(answer) for answer in result.answer]}
    return _answer(result.answer)


def _answer(answer: Prediction | Page) -> Record:
    if not isinstance(answer, Page):
        label, probability = answer
        return {"digit": label, "probability": round(probability, 6)}
    if answer.single:
        return _digit(answer.digits[0])
    return {
        "lines": [
            {"text": line.text, "digits": [_digit(digit) for digit in line.digits]}
            for line in answer.lines
        ]
    }


def _digit(digit: Digit) -> Record:
    label, probability, box = digit
    return {"digit": label, "probability": round(probability, 6), **box._asdict()}
