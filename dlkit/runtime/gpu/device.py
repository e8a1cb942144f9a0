"""What running batches needs of a GPU and of an engine, whoever provides it.

``dlkit.runtime.gpu.cuda.Cuda`` is the ``Device``, TensorRT's backend has the ``Network``; the tests
put numpy in the place of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dlkit.runtime.gpu.profile import Profiles, Shape

Bytes = NDArray[np.uint8]


class Device(Protocol):
    """What is needed of a GPU; ``dlkit.runtime.gpu.cuda.Cuda`` describes each method."""

    def make_current(self) -> None: ...
    def create_stream(self) -> int: ...
    def destroy_stream(self, stream: int) -> None: ...
    def synchronize(self, stream: int) -> None: ...
    def allocate(self, size: int) -> int: ...
    def free(self, address: int) -> None: ...
    def allocate_pinned(self, size: int) -> Bytes: ...
    def free_pinned(self, memory: Bytes) -> None: ...
    def upload(self, stream: int, target: int, source: Bytes) -> None: ...
    def download(self, stream: int, target: Bytes, source: int) -> None: ...
    def begin_capture(self, stream: int) -> None: ...
    def end_capture(self, stream: int) -> Any: ...
    def launch(self, stream: int, graph: Any) -> None: ...
    def destroy_graph(self, graph: Any) -> None: ...
    def close(self) -> None: ...


class Context(Protocol):
    """One execution of an engine at a time."""

    def set_shapes(self, shapes: Sequence[Shape]) -> tuple[tuple[Shape, ...], int]:
        """Set the inputs' shapes; gives the outputs' and the scratch memory needed, bytes."""
        ...

    def set_scratch(self, address: int, size: int) -> None:
        """Memory that executions may overwrite; it is the caller's and must outlive them."""
        ...

    def enqueue(self, sources: Sequence[int], targets: Sequence[int], stream: int) -> None:
        """Begin to compute device memory ``targets`` from ``sources``, in the graph's order."""
        ...

    def why_no_capture(self, stream: int) -> str | None:
        """Why the work cannot be recorded as a graph; None when it can be tried."""
        ...


class Network(Protocol):
    """A loaded engine."""

    profiles: Profiles

    def create_context(self, settled: bool) -> Context:
        """A new context; ``settled`` when it will run one shape many times."""
        ...

    def close(self) -> None:
        """Let go of the engine; every context is gone by then."""
        ...
