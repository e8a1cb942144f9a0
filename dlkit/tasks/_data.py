"""Inputs with what they should give: to verify on, and to calibrate with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from numpy.typing import NDArray

# One call of a graph: arrays by the names of its inputs, each with its first axis the batch.
Feeds: TypeAlias = Mapping[str, NDArray[Any]]
# What came out of several calls: arrays by the names of the outputs.
Outputs: TypeAlias = list[dict[str, NDArray[Any]]]
Score: TypeAlias = Callable[[Outputs], dict[str, float]]
MARK = 8  # hexadecimal digits that tell one sample from others


def batch_of(feeds: Feeds) -> int:
    """Samples in one call."""
    return max((len(array) for array in feeds.values() if array.ndim), default=1)


@dataclass(frozen=True)
class HeldOut:
    """Inputs for a session, and what they should give.

    Attributes:
        name: of the data.
        batches: one call each; inputs with an answer first, then others and noise.
        scored: how many of the batches have an answer.
        score: task metrics of the outputs of the scored batches; higher is better for each. Gives
            nothing where nobody knows the answers.
        random: nobody knows such inputs: they were drawn at random.
        guess: task metrics that need no network (a guess; the noisy image itself): a reference that
            is no better has nothing to certify.
        more: where only a part of the data is taken: of how many, and how all are.
    """

    name: str
    batches: list[Feeds]
    scored: int
    score: Score
    random: bool = False
    guess: Mapping[str, float] = field(default_factory=dict)
    more: str = ""

    def fingerprint(self) -> str:
        """Hash of all inputs, hexadecimal."""
        return _sha256(self.batches)

    def samples(self) -> list[str]:
        """A short hash of each input that counts; of a call, where its arrays differ in length."""
        return [mark for feeds in self._counted for mark in _marks(feeds)]

    @property
    def count(self) -> int:
        """How many inputs have an answer; all of them where none has."""
        return sum(batch_of(feeds) for feeds in self._counted)

    @property
    def _counted(self) -> list[Feeds]:
        return self.batches[: self.scored] or self.batches


def _marks(feeds: Feeds) -> list[str]:
    """A mark a sample: one in a million is like one of thousands by chance alone."""
    lengths = {len(array) if array.ndim else 0 for array in feeds.values()}
    parts: list[Feeds] = [feeds]
    if len(lengths) == 1 and lengths != {0}:
        parts = [{name: array[at] for name, array in feeds.items()} for at in range(lengths.pop())]
    return [_sha256([part])[:MARK] for part in parts]


def _sha256(batches: Iterable[Feeds]) -> str:
    digest = hashlib.sha256()
    for feeds in batches:
        for name, array in sorted(feeds.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Calibration:
    """Inputs of the training side, for int8.

    Attributes:
        name: of the data.
        batches: for the ranges of activations, one call each.
        validation: other inputs, with answers, for the loss.
        all_of_it: nothing of the data was left out of both, to verify on.
    """

    name: str
    batches: list[Feeds]
    validation: HeldOut
    all_of_it: bool = False

    @property
    def ranges(self) -> HeldOut:
        """The inputs for the ranges, in the form that has a count and a fingerprint."""
        return HeldOut(self.name, self.batches, 0, lambda _: {})


def halves(found: HeldOut) -> Calibration:
    """Inputs without answers: the first half for ranges, the others for the loss."""
    half = len(found.batches) // 2
    rest = replace(found, batches=found.batches[half:])
    return Calibration(found.name, found.batches[:half], rest, all_of_it=True)
