"""Session: a bundle's graph, loaded by one backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from dlkit.tasks._data import Feeds


class Closing(ABC):
    """What holds memory and a device until it is closed, at the end of a ``with`` or by hand."""

    @abstractmethod
    def close(self) -> None:
        """Let go of memory and device; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Session(Closing):
    """A bundle's graph, loaded by one backend on one device; any thread may call it. Use it with
    ``with``, or ``close`` it.

    Attributes:
        backend: name of the backend, e.g. ``onnxruntime``.
        device: ``cpu`` or ``cuda``.
        sha256: hash of the file that it runs: model.onnx, or an engine.
        arithmetic: type that it computes in when that is not the graph's, one of ``PRECISIONS``.
    """

    backend: str
    device: str
    sha256: str
    arithmetic: str | None = None

    @abstractmethod
    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run one batch.

        Args:
            feeds: an array for every input, dtypes and shapes as ``ModelSpec.inputs``.

        Returns:
            An array for every output; they are the caller's.

        Raises:
            BackendError: the backend refuses.
        """

    @abstractmethod
    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch of a graph with one input and one output."""

    def stop(self) -> None:  # not every backend can
        """End calls that are under way in other threads; they raise. The session is of no use
        afterwards."""

    def close(self) -> None:
        """Let go of memory and device; a second call does nothing."""
