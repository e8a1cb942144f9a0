"""Runner: samples through a session, in batches of one shape, whatever happens to one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError, InputError, UsageError
from dlkit.tasks import Feeds, Model, Session

# Pixels of one batch, whatever its count: 16 scans of 678 x 384.
_BATCH_PIXELS = 4 << 20
Prepared = tuple[Any, Any]  # a sample as the graph takes it, and a note


class Runner:
    """Samples through a session, grouped into batches of one shape.

    A batch that fails is halved until it runs: one bad sample costs only itself, and a batch that
    is too large for the memory is run in parts, as are all after it. What is no fault of the input
    or the machine is a bug of dlkit or of a plug-in: it is raised as it is.
    """

    def __init__(self, model: Model[Any, Any, Any], session: Session, batch: int) -> None:
        if batch < 1:
            raise UsageError(f"batch is {batch}, expected 1 or more")
        self.model, self.session, self.batch = model, session, batch

    def answer(self, loaded: Iterable[Prepared]) -> list[Any]:
        """An answer, or the ``DlkitError`` in place of one, for each, in order."""
        items = list(loaded)
        answers: list[Any] = [None] * len(items)
        if not self.model.stacks:
            for place, (sample, note) in enumerate(items):
                answers[place] = self._run([(sample, note)], stack=False)[0]
            return answers
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, (sample, _) in enumerate(items):
            groups.setdefault(sample.shape, []).append(place)
        for shape, places in groups.items():
            at = 0
            while at < len(places):
                count = max(1, min(self.batch, _BATCH_PIXELS // math.prod(shape)))
                some = places[at : at + count]
                for place, answer in zip(some, self._run([items[p] for p in some]), strict=True):
                    answers[place] = answer
                at += count
        return answers

    def _run(self, group: list[Prepared], stack: bool = True) -> list[Any]:
        """Only what the backend says of a batch is caught: each has exceptions of its own."""
        batch = np.stack([sample for sample, _ in group]) if stack else group[0][0]
        watched = _Watched(self.session)
        try:
            outputs = self.model.infer(watched, batch)
        except UsageError:  # it was closed
            raise
        except Exception as error:
            if watched.failed is not error and not isinstance(error, MemoryError | DlkitError):
                raise
            if len(group) == 1:
                line = str(error).strip().partition("\n")[0]
                return [InputError(f"inference failed: {line}")]
            half = (len(group) + 1) // 2
            answers = self._run(group[:half]) + self._run(group[half:])
            if not any(isinstance(answer, DlkitError) for answer in answers):
                self.batch = min(self.batch, half)  # it was too large, not spoilt
            return answers
        return list(self.model.finish_all(outputs, [note for _, note in group]))


class _Watched(Session):
    """A session that remembers what it raised: that is the machine's or the input's, no bug."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.backend, self.device = session.backend, session.device
        self.sha256 = session.sha256
        self.failed: BaseException | None = None

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        try:
            return self._session.run(feeds)
        except Exception as error:
            self.failed = error
            raise

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        try:
            return self._session(batch)
        except Exception as error:
            self.failed = error
            raise
