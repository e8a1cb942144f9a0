"""How a model is fed: samples in a batch, files in a chunk, threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from dlkit.processors import cpu_count
from dlkit.runtime.folders.sources import Source
from dlkit.tasks import Task


@dataclass(frozen=True)
class Feeding:
    """How a model is fed.

    Attributes:
        batch: samples that run together.
        chunk: files that a worker takes at once.
        workers: threads that call the session.
    """

    batch: int
    chunk: int
    workers: int

    @classmethod
    def of(
        cls,
        task: Task,
        device: str,
        batch: int | None = None,
        workers: int | None = None,
        chunk: int | None = None,
    ) -> Feeding:
        """What suits a task and a device, where nobody said something else."""
        together = batch or task.batch[device]
        # some batches at once, so that samples of one shape find each other
        taken = chunk or (together if together == 1 else 4 * together)
        return cls(together, taken, workers or cpu_count())

    def callers(self, sources: Iterable[Source]) -> int:
        """Workers that a few files are worth: the session then gets more processors for each."""
        few = sum(1 for _ in itertools.islice(sources, self.workers * self.chunk))
        return max(1, min(self.workers, -(-few // self.chunk)))
