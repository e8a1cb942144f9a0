"""Graphs whose first axis is fixed, as most exporters write them, on any number of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import BackendError
from dlkit.spec import ModelSpec
from dlkit.tasks import Feeds, Session


class FixedBatch(Session):
    """A session whose graph takes ``size`` samples a call, for any number of them.

    They run in parts of ``size``; the last part is filled up with zeros, whose answers are cut off.
    Calls of exactly ``size`` samples go through as they are.
    """

    def __init__(self, session: Session, spec: ModelSpec, size: int) -> None:
        self.session, self._size = session, size
        self.backend, self.device = session.backend, session.device
        self.sha256, self.arithmetic = session.sha256, session.arithmetic
        self._input, self._output = spec.inputs[0].name, spec.outputs[0].name

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run any number of samples, the same of every input."""
        counts = {len(array) if array.ndim else 0 for array in feeds.values()}
        if counts == {self._size}:
            return self.session.run(feeds)
        if len(counts) != 1:
            raise BackendError(
                f"inputs with {' and '.join(map(str, sorted(counts)))} samples in one call",
                "Give every input the same number",
            )
        (count,) = counts
        parts = []
        for first in range(0, max(count, 1), self._size):
            last = min(first + self._size, count)
            part = {name: self._filled(array[first:last]) for name, array in feeds.items()}
            found = self.session.run(part)
            kept = last - first
            parts.append({name: self._cut(name, array, kept) for name, array in found.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run any number of samples of a graph with one input and one output."""
        if len(batch) == self._size:
            return self.session(batch)
        return self.run({self._input: batch})[self._output]

    def stop(self) -> None:
        """End calls that are under way."""
        self.session.stop()

    def close(self) -> None:
        """Let go of memory and device."""
        self.session.close()

    def _filled(self, part: NDArray[Any]) -> NDArray[Any]:
        missing = self._size - len(part)
        return np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)])

    def _cut(self, name: str, found: NDArray[Any], count: int) -> NDArray[Any]:
        if found.ndim == 0 or len(found) != self._size:
            raise BackendError(
                f"the graph takes {self._size} samples a call, and its output {name} has the shape "
                f"{found.shape}: it cannot be told which rows belong to which sample",
                f"Give {self._size} samples a call, or export the graph with a free first axis",
            )
        return found[:count]
