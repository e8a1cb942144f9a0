"""Many images in one file, at memory speed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import DlkitError, InputError
from dlkit.runtime.folders.array_files import open_array
from dlkit.runtime.folders.pace import Pace
from dlkit.runtime.folders.pipeline import run
from dlkit.runtime.folders.sources import Source
from dlkit.runtime.folders.table import Row
from dlkit.runtime.folders.tally import Tally
from dlkit.runtime.runner import Runner
from dlkit.tasks.recognize import Recognizer

_BATCHES = 4  # of the session that are one part: fewer hand-overs between threads


class Part(NamedTuple):
    """A run of images in an array.

    Attributes:
        first: index of its first image.
        pixels: uint8 (N, H, W), or (N, H, W, 3) RGB.
    """

    source: Source
    first: int
    pixels: images.UInt8


class PartResult(NamedTuple):
    """Answers for a part: int64 (N,) classes and float32 (N,) probabilities; NaN where none."""

    part: Part
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]


class ArrayWork:
    """Recognizes a part; called in worker threads."""

    def __init__(self, runner: Runner, model: Recognizer) -> None:
        self.runner, self.model = runner, model

    def __call__(self, chunk: Sequence[Part]) -> list[PartResult]:
        """The most probable class of each image."""
        results = []
        for part in chunk:
            pixels = part.pixels
            spec = self.model.bundle.spec
            if pixels.shape[1:] != tuple(spec.input.shape[1:]):
                results.append(self._one_by_one(part))
                continue
            pixels = self.model.in_form(pixels)
            if spec.colour == "bgr":
                pixels = np.ascontiguousarray(pixels[..., ::-1])
            count = self.runner.batch
            output = np.concatenate(
                [
                    self.runner.session(pixels[at : at + count])
                    for at in range(0, len(pixels), count)
                ]
            )
            classes = output.argmax(axis=1)
            best = output[np.arange(len(output)), classes]
            results.append(PartResult(part, classes, best.astype(np.float32)))
        return results

    def _one_by_one(self, part: Part) -> PartResult:
        """Images of another size than the network's."""
        # Files hold RGB, arrays in memory BGR, as OpenCV has them.
        pixels = part.pixels[..., ::-1] if part.pixels.ndim == 4 else part.pixels
        found = self.model.recognize(list(pixels), self.runner.batch)
        classes = [self.model.labels.index(one.label) for one in found]
        sure = [one.probability for one in found]
        return PartResult(part, np.array(classes, np.int64), np.array(sure, np.float32))


def answers(work: ArrayWork, source: Source, workers: int, tally: Tally) -> Iterator[list[Row]]:
    """Rows of one array, a list for each part, named ``FILE[INDEX]``; or one row with its error."""
    try:
        content = None if source.stored is None else io.BytesIO(source.read())
        with open_array(source.path, work.model.bundle.spec.colour, content) as array:
            parts = _parts(source, array.parts(work.runner.batch * _BATCHES))
            for (result,) in run(work, parts, Pace(1), workers):
                yield _rows(result, work.model.labels, tally)
    except DlkitError as error:
        tally.fail(source.name, str(error))
        yield [(source.name, "", "", str(error))]


def _parts(source: Source, arrays: Iterator[images.UInt8]) -> Iterator[Part]:
    """Parts; values of 0 and 1 alone become 0 and 255."""
    first = 0
    ones: bool | None = None  # not known, as long as all is 0
    for pixels in arrays:
        most = int(pixels.max())
        if ones is None and most:
            ones = most == 1
        elif ones and most > 1:
            raise InputError(
                f"{source.path}: its first images hold 0 and 1 alone, others up to {most}",
                "Bring them to 0 to 255",
            )
        yield Part(source, first, pixels * np.uint8(255) if ones else pixels)
        first += len(pixels)


def _rows(result: PartResult, labels: Sequence[str], tally: Tally) -> list[Row]:
    name, first = result.part.source.name, result.part.first
    classes = result.classes.tolist()
    probabilities = result.probabilities.astype(np.float64).round(6).tolist()
    rows: list[Row] = [
        (f"{name}[{index}]", labels[which], probability, "")
        for index, (which, probability) in enumerate(
            zip(classes, probabilities, strict=True), first
        )
    ]
    bad = np.flatnonzero(~np.isfinite(result.probabilities)).tolist()
    for index in bad:
        error = "the model gave NaN; check it: dlkit verify"
        rows[index] = (rows[index][0], "", "", error)
        tally.fail(rows[index][0], error)
    tally.done += len(rows) - len(bad)
    return rows
