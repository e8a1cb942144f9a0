"""Inputs with what they should give: to verify on, and to calibrate with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from numpy.typing import NDArray

# One call of a graph: arrays by the names of its inputs, each with its first axis the batch.
Feeds: TypeAlias = Mapping[str, NDArray[Any]]
# What came out of several calls: arrays by the names of the outputs.
Outputs: TypeAlias = list[dict[str, NDArray[Any]]]
Score: TypeAlias = Callable[[Outputs], dict[str, float]]


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
    """

    name: str
    batches: list[Feeds]
    scored: int
    score: Score
    random: bool = False
    guess: Mapping[str, float] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Hash of all inputs, hexadecimal."""
        digest = hashlib.sha256()
        for feeds in self.batches:
            for name, array in sorted(feeds.items()):
                digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()

    @property
    def count(self) -> int:
        """How many inputs have an answer; all of them where none has."""
        counted = self.batches[: self.scored] or self.batches
        return sum(batch_of(feeds) for feeds in counted)


@dataclass(frozen=True)
class Calibration:
    """Inputs of the training side, for int8.

    Attributes:
        name: of the data.
        batches: for the ranges of activations, one call each.
        validation: other inputs, with answers, for the loss.
    """

    name: str
    batches: list[Feeds]
    validation: HeldOut

    @property
    def ranges(self) -> HeldOut:
        """The inputs for the ranges, in the form that has a count and a fingerprint."""
        return HeldOut(self.name, self.batches, 0, lambda _: {})


def halves(found: HeldOut) -> Calibration:
    """Inputs without answers: the first half for ranges, the others for the loss."""
    half = len(found.batches) // 2
    rest = replace(found, batches=found.batches[half:])
    return Calibration(found.name, found.batches[:half], rest)
