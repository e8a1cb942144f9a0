"""A GPU and an engine made of numpy, which fail on misuse.

Work is queued and done at ``synchronize`` alone, one operation of each stream in turn, so whoever
reads too early reads garbage. Memory is poisoned when it is allocated and refused after it is
freed, also to work that was queued before. Copies, kernels and recorded graphs are real: the answer
is computed from the bytes that went up. What it cannot tell is whether CUDA and TensorRT behave as
it does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import BackendError
from dlkit.runtime.gpu.profile import Profiles, Shape

Bytes = NDArray[np.uint8]
Array = NDArray[Any]
Work = Callable[[], None]
GARBAGE = 0xA5


class FakeGpu:
    """Implements ``dlkit.runtime.gpu.device.Device``.

    ``fail`` names a method and its next error.
    """

    def __init__(self) -> None:
        self.memory: dict[int, Bytes] = {}
        self.pinned: dict[int, Bytes] = {}
        self.streams: dict[int, list[Work]] = {}
        self.recording: dict[int, list[Work] | None] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.fail: dict[str, BackendError] = {}
        self.log: list[str] = []
        self.delay = 0.0  # seconds that each wait takes
        self._running = threading.Lock()
        self.waited: list[int] = []  # streams that were waited for, in order
        self.closed = False
        self._next = 0x1000

    def _name(self) -> int:
        self._next += 0x1000
        return self._next

    def _begin(self, name: str) -> None:
        self.log.append(name)
        assert not self.closed, "the GPU was let go"
        if name in self.fail:
            raise self.fail.pop(name)

    def make_current(self) -> None:
        assert not self.closed

    def create_stream(self) -> int:
        self._begin("create_stream")
        stream = self._name()
        self.streams[stream] = []
        self.recording[stream] = None
        return stream

    def destroy_stream(self, stream: int) -> None:
        self._begin("destroy_stream")
        assert not self.streams.pop(stream), "the stream has work left"

    def synchronize(self, stream: int) -> None:
        self._begin("synchronize")
        self.waited.append(stream)
        time.sleep(self.delay)
        while True:
            with self._running:
                assert self.recording[stream] is None, "a stream that records is waited for"
                if not self.streams[stream]:
                    return
                for queue in self.streams.values():  # the others run at the same time
                    if queue:
                        queue.pop(0)()

    def allocate(self, size: int) -> int:
        self._begin("allocate")
        assert size > 0
        address = self._name() << 24
        self.memory[address] = np.full(size, GARBAGE, np.uint8)
        return address

    def free(self, address: int) -> None:
        self._begin("free")
        del self.memory[address]

    def allocate_pinned(self, size: int) -> Bytes:
        self._begin("allocate_pinned")
        memory = np.full(size, GARBAGE, np.uint8)
        self.pinned[memory.ctypes.data] = memory
        return memory

    def free_pinned(self, memory: Bytes) -> None:
        self._begin("free_pinned")
        del self.pinned[memory.ctypes.data]
        memory[...] = GARBAGE

    def enqueue(self, stream: int, work: Work) -> None:
        """Queue work, or record it."""
        recording = self.recording[stream]
        (self.streams[stream] if recording is None else recording).append(work)

    def upload(self, stream: int, target: int, source: Bytes) -> None:
        self._begin("upload")
        assert source.ctypes.data in self.pinned, "not page-locked: the copy would not overlap"

        def copy() -> None:
            assert source.ctypes.data in self.pinned
            self.memory[target][: source.nbytes] = source

        self.enqueue(stream, copy)

    def download(self, stream: int, target: Bytes, source: int) -> None:
        self._begin("download")
        assert target.ctypes.data in self.pinned

        def copy() -> None:
            assert target.ctypes.data in self.pinned
            target[...] = self.memory[source][: target.nbytes]

        self.enqueue(stream, copy)

    def begin_capture(self, stream: int) -> None:
        self._begin("begin_capture")
        assert self.recording[stream] is None
        self.recording[stream] = []

    def end_capture(self, stream: int) -> int:
        recorded, self.recording[stream] = self.recording[stream], None
        assert recorded is not None
        self._begin("end_capture")
        graph = self._name()
        self.graphs[graph] = recorded
        return graph

    def launch(self, stream: int, graph: Any) -> None:
        self._begin("launch")
        for work in self.graphs[graph]:
            self.enqueue(stream, work)

    def destroy_graph(self, graph: Any) -> None:
        self._begin("destroy_graph")
        del self.graphs[graph]

    def close(self) -> None:
        assert not self.closed
        self.closed = True

    @property
    def held(self) -> int:
        """Things that were not given back."""
        return len(self.memory) + len(self.pinned) + len(self.streams) + len(self.graphs)


class FakeContext:
    """Gives what ``compute`` of its network gives, by way of the scratch memory, in two kernels."""

    def __init__(self, network: FakeNetwork, settled: bool) -> None:
        self.network, self.settled = network, settled
        self.shapes: tuple[Shape, ...] = ()
        self.scratch = (0, 0)
        self.alive = True

    def __del__(self) -> None:
        self.alive = False

    @property
    def nothing(self) -> list[Array]:
        """Inputs of the shapes that are set."""
        pairs = zip(self.shapes, self.network.sources, strict=True)
        return [np.zeros(shape, dtype) for shape, dtype in pairs]

    def set_shapes(self, shapes: Sequence[Shape]) -> tuple[tuple[Shape, ...], int]:
        profiles = self.network.profiles
        for profile, shape in zip(profiles.inputs.values(), shapes, strict=True):
            for low, axis, high in zip(profile.smallest, shape, profile.largest, strict=True):
                assert low <= axis <= high, f"{shape} is outside the profile"
        self.shapes = tuple(shapes)
        self.network.shapes.append((self.shapes, self.settled))
        given = self.network.compute(*self.nothing)
        return tuple(array.shape for array in given), sum(array.nbytes for array in self.nothing)

    def set_scratch(self, address: int, size: int) -> None:
        self.scratch = address, size

    def enqueue(self, sources: Sequence[int], targets: Sequence[int], stream: int) -> None:
        gpu, state, compute = self.network.gpu, self.__dict__, self.network.compute
        inputs = self.nothing
        scratch, room = self.scratch
        ends = [0, *np.cumsum([array.nbytes for array in inputs])]
        assert room >= ends[-1], "too little scratch memory"
        gpu._begin("enqueue")

        def first() -> None:
            assert state["alive"], "the context is gone while its work runs"
            for place, array in enumerate(inputs):
                there = gpu.memory[sources[place]][: array.nbytes]
                gpu.memory[scratch][ends[place] : ends[place + 1]] = there

        def second() -> None:
            assert state["alive"]
            arrays = [
                gpu.memory[scratch][ends[place] : ends[place + 1]]
                .view(array.dtype)
                .reshape(array.shape)
                for place, array in enumerate(inputs)
            ]
            for target, given in zip(targets, compute(*arrays), strict=True):
                raw = np.frombuffer(given.tobytes(), np.uint8)
                gpu.memory[target][: raw.size] = raw

        gpu.enqueue(stream, first)
        gpu.enqueue(stream, second)

    def why_no_capture(self, stream: int) -> str | None:
        return self.network.refusal


def inverted(pixels: Array) -> list[Array]:
    """What a fake network gives by default."""
    return [255 - pixels]


class FakeNetwork:
    """Implements ``dlkit.runtime.gpu.device.Network``.

    ``compute`` gives outputs for inputs, in the graph's order; ``sources`` are the inputs' types.
    """

    def __init__(
        self,
        gpu: FakeGpu,
        profiles: Profiles,
        compute: Callable[..., list[Array]] = inverted,
        sources: Sequence[np.dtype[Any]] = (np.dtype(np.uint8),),
    ) -> None:
        self.gpu, self.profiles = gpu, profiles
        self.compute, self.sources = compute, sources
        self.refusal: str | None = None
        self.shapes: list[tuple[tuple[Shape, ...], bool]] = []
        self.closed = False

    def answered(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Shapes of the outputs for those of the inputs."""
        pairs = zip(shapes, self.sources, strict=True)
        given = self.compute(*(np.zeros(shape, dtype) for shape, dtype in pairs))
        return [array.shape for array in given]

    def create_context(self, settled: bool) -> FakeContext:
        assert not self.closed
        return FakeContext(self, settled)

    def close(self) -> None:
        self.closed = True
