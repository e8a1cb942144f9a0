"""Slot: one stream of a GPU with its buffers, which runs one part of a batch at a time.

A shape that comes once is run directly, in an execution context that all such shapes share. When it
comes again it gets a context of its own, whose work is recorded as a graph: from then on one launch
copies in, runs and copies out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import BackendError
from dlkit.runtime.gpu.device import Bytes, Context, Device, Network
from dlkit.runtime.gpu.profile import Shape

GRAPHS = 16  # that a slot keeps; the one that was recorded or used longest ago goes
SEEN = 256  # shapes that a slot remembers to have run


class Ticket:
    """A batch on its way through the GPU.

    The array that ``result`` gives was made for this ticket: it is the caller's.
    """

    def __init__(self, finish: Callable[[Ticket], None], images: int) -> None:
        self._finish = finish
        self._images = images
        self._output: NDArray[Any] | None = None
        self._error: BackendError | None = None

    def result(self) -> NDArray[Any]:
        """Wait for the batch; the same array each time.

        Raises:
            BackendError: the batch failed, or was on its way when another failed.
        """
        self._finish(self)
        if self._error is not None:
            raise self._error
        assert self._output is not None
        return self._output

    def rows(self, first: int, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The rows that a part fills, from row ``first``; ``shape`` is that of its output."""
        if self._output is None:
            self._output = np.empty((self._images, *shape[1:]), dtype)
        return self._output[first : first + shape[0]]

    def fail(self, error: BackendError) -> None:
        """Say why there is no answer."""
        self._error = error


@dataclass(frozen=True)
class _Recorded:
    """A shape's own context, its recorded work, and its output's shape."""

    context: Context
    graph: Any
    output: Shape


@dataclass(frozen=True)
class _Pending:
    """A part that is running: its output's shape with padding, and the rows it is for.

    ``context`` is kept because TensorRT may not lose it before its work is done.
    """

    ticket: Ticket
    context: Context
    output: Shape
    rows: NDArray[Any]


class Slot:
    """A stream with its buffers; it runs one part at a time.

    Attributes:
        pending: the part that is running, or None.
        refusal: why work is not recorded as graphs, or None.
        stream: its stream.
        waiting: threads that wait for the stream; a stream must not be recorded meanwhile.
    """

    def __init__(
        self, device: Device, network: Network, source: np.dtype[Any], target: np.dtype[Any]
    ) -> None:
        self._device, self._network = device, network
        self._source, self._target = source, target
        self._shared: Context | None = None
        self._recorded: OrderedDict[Shape, _Recorded] = OrderedDict()
        self._seen: OrderedDict[Shape, None] = OrderedDict()
        self._memory: dict[str, tuple[int, int]] = {}  # address and bytes on the device
        self._pinned: dict[str, Bytes] = {}
        self.pending: _Pending | None = None
        self.refusal: str | None = None
        self.waiting = 0
        self.stream = device.create_stream()

    def start(self, part: NDArray[Any], first: int, ticket: Ticket) -> None:
        """Begin to run a part; nothing is waited for. ``part`` is the caller's again on return."""
        shape = (self._network.profile.bucket(len(part)), *part.shape[1:])
        if (recorded := self._recorded.get(shape)) is not None:
            self._recorded.move_to_end(shape)
            context, output = recorded.context, recorded.output
            self._fill(part, shape)
            self._device.launch(self.stream, recorded.graph)
        else:
            again = shape in self._seen and self.refusal is None and not self.waiting
            context = self._network.create_context(settled=True) if again else self._common()
            output, scratch = context.set_shape(shape)
            self._reserve("input", prod(shape) * self._source.itemsize)
            self._reserve("output", prod(output) * self._target.itemsize)
            self._reserve("scratch", max(1, scratch))
            context.set_scratch(*self._memory["scratch"])
            self._fill(part, shape)
            # Run it before it is recorded: engines finish their preparations in the first run.
            self._enqueue(context, shape, output)
            if again:
                self._record(context, shape, output)
            self._remember(shape)
        rows = ticket.rows(first, (len(part), *output[1:]), self._target)
        self.pending = _Pending(ticket, context, output, rows)

    def finish(self) -> None:
        """Wait for the part that is running and hand its rows over; the padding stays behind."""
        if self.pending is None:
            return
        self._device.synchronize(self.stream)
        pending, self.pending = self.pending, None
        output = self._view("output", pending.output, self._target)
        pending.rows[...] = output[: len(pending.rows)]

    def abandon(self, error: BackendError) -> None:
        """Forget the part that is running, after an error."""
        with suppress(BackendError):
            self._device.synchronize(self.stream)
        if self.pending is not None:
            self.pending.ticket.fail(error)
            self.pending = None

    def close(self) -> None:
        """Give everything back; goes on past errors, for what can still be freed."""
        self.abandon(BackendError("the session was closed before this batch was done"))
        for shape in list(self._recorded):
            with suppress(BackendError):
                self._forget(shape)
        self._recorded.clear()
        self._shared = None
        while self._pinned:
            with suppress(BackendError):
                self._device.free_pinned(self._pinned.popitem()[1])
        while self._memory:
            with suppress(BackendError):
                self._device.free(self._memory.popitem()[1][0])
        with suppress(BackendError):
            self._device.destroy_stream(self.stream)

    def _common(self) -> Context:
        """The context for shapes that may not come again."""
        if self._shared is None:
            self._shared = self._network.create_context(settled=False)
        return self._shared

    def _fill(self, part: NDArray[Any], shape: Shape) -> None:
        source = self._view("input", shape, self._source)
        source[: len(part)] = part
        source[len(part) :] = 0

    def _enqueue(self, context: Context, shape: Shape, output: Shape) -> None:
        source = self._pinned["input"][: prod(shape) * self._source.itemsize]
        target = self._pinned["output"][: prod(output) * self._target.itemsize]
        self._device.upload(self.stream, self._memory["input"][0], source)
        context.enqueue(self._memory["input"][0], self._memory["output"][0], self.stream)
        self._device.download(self.stream, target, self._memory["output"][0])

    def _record(self, context: Context, shape: Shape, output: Shape) -> None:
        """Record a shape's work as a graph; where that is refused, say why and go on without."""
        self.refusal = context.why_no_capture(self.stream)
        if self.refusal is not None:
            return
        try:
            self._device.begin_capture(self.stream)
            try:
                self._enqueue(context, shape, output)
            except BaseException:
                with suppress(BackendError):
                    self._device.destroy_graph(self._device.end_capture(self.stream))
                raise
            graph = self._device.end_capture(self.stream)
        except BackendError as error:
            self.refusal = str(error)
            return
        self._recorded[shape] = _Recorded(context, graph, output)
        if len(self._recorded) > GRAPHS:
            self._forget(next(iter(self._recorded)))

    def _remember(self, shape: Shape) -> None:
        self._seen[shape] = None
        self._seen.move_to_end(shape)
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)

    def _forget(self, shape: Shape) -> None:
        """Destroy a graph that is not running."""
        self._device.destroy_graph(self._recorded.pop(shape).graph)

    def _view(self, name: str, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
        return self._pinned[name][: prod(shape) * dtype.itemsize].view(dtype).reshape(shape)

    def _reserve(self, name: str, size: int) -> None:
        """Make a buffer large enough. Graphs hold its address, so they go when it moves."""
        if name in self._memory and self._memory[name][1] >= size:
            return
        for shape in list(self._recorded):
            self._forget(shape)
        self._release(name)
        self._memory[name] = (self._device.allocate(size), size)
        if name != "scratch":
            try:
                self._pinned[name] = self._device.allocate_pinned(size)
            except BackendError:
                self._release(name)
                raise

    def _release(self, name: str) -> None:
        if name in self._pinned:
            self._device.free_pinned(self._pinned.pop(name))
        if name in self._memory:
            self._device.free(self._memory.pop(name)[0])
