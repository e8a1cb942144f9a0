"""Slot: one stream of a GPU with its buffers, which runs one part of a batch at a time.

A shape that comes once is run directly, in an execution context that all such shapes share. When it
comes again it gets a context of its own, whose work is recorded as a graph: from then on one launch
copies in, runs and copies out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import BackendError
from dlkit.runtime.gpu.device import Bytes, Context, Device, Network
from dlkit.runtime.gpu.profile import Shape

Shapes = tuple[Shape, ...]  # of all inputs, or of all outputs

GRAPHS = 16  # that a slot keeps; the one that was recorded or used longest ago goes
SEEN = 256  # shapes that a slot remembers to have run


class Ticket:
    """A call on its way through the GPU.

    The arrays that ``results`` gives were made for this ticket: they are the caller's.

    Args:
        samples: of the whole call; None where it is run as it is.
    """

    def __init__(self, finish: Callable[[Ticket], None], samples: int | None) -> None:
        self._finish = finish
        self._samples = samples
        self._outputs: list[NDArray[Any]] = []
        self._error: BackendError | None = None

    def results(self) -> list[NDArray[Any]]:
        """Wait for the call; its outputs in the graph's order, the same arrays each time.

        Raises:
            BackendError: the call failed, or was on its way when another failed.
        """
        self._finish(self)
        if self._error is not None:
            raise self._error
        return self._outputs

    def result(self) -> NDArray[Any]:
        """The only output, as ``results``."""
        (output,) = self.results()
        return output

    def rows(
        self, first: int, count: int, shapes: Shapes, dtypes: Sequence[np.dtype[Any]]
    ) -> list[NDArray[Any]]:
        """What a part fills: ``count`` rows of each output from row ``first``, or all of it.

        Args:
            shapes: of the part's outputs, with padding.
        """
        if not self._outputs:
            self._outputs = [
                np.empty(shape if self._samples is None else (self._samples, *shape[1:]), dtype)
                for shape, dtype in zip(shapes, dtypes, strict=True)
            ]
        if self._samples is None:
            return self._outputs
        return [output[first : first + count] for output in self._outputs]

    def fail(self, error: BackendError) -> None:
        """Say why there is no answer."""
        self._error = error


@dataclass(frozen=True)
class _Recorded:
    """The context of some shapes, its recorded work, and its outputs' shapes."""

    context: Context
    graph: Any
    outputs: Shapes


@dataclass(frozen=True)
class _Pending:
    """A part that is running: its outputs' shapes with padding, and the rows they are for.

    ``context`` is kept because TensorRT may not lose it before its work is done.
    """

    ticket: Ticket
    context: Context
    outputs: Shapes
    rows: Sequence[NDArray[Any]]


class Slot:
    """A stream with its buffers; it runs one part at a time.

    Attributes:
        pending: the part that is running, or None.
        refusal: why work is not recorded as graphs, or None.
        stream: its stream.
        waiting: threads that wait for the stream; a stream must not be recorded meanwhile.
    """

    def __init__(
        self,
        device: Device,
        network: Network,
        sources: Sequence[np.dtype[Any]],
        targets: Sequence[np.dtype[Any]],
    ) -> None:
        self._device, self._network = device, network
        self._sources, self._targets = sources, targets
        self._inputs = [f"input {place}" for place in range(len(sources))]
        self._outputs = [f"output {place}" for place in range(len(targets))]
        self._shared: Context | None = None
        self._recorded: OrderedDict[Shapes, _Recorded] = OrderedDict()
        self._seen: OrderedDict[Shapes, None] = OrderedDict()
        self._memory: dict[str, tuple[int, int]] = {}  # address and bytes on the device
        self._pinned: dict[str, Bytes] = {}
        self.pending: _Pending | None = None
        self.refusal: str | None = None
        self.waiting = 0
        self.stream = device.create_stream()

    def start(self, part: Sequence[NDArray[Any]], first: int, ticket: Ticket) -> None:
        """Begin to run a part; nothing is waited for. ``part`` is the caller's again on return.

        Args:
            part: an array for each input.
            first: its first sample in the whole call.
        """
        shapes = self._network.profiles.padded([array.shape for array in part])
        if (recorded := self._recorded.get(shapes)) is not None:
            self._recorded.move_to_end(shapes)
            context, outputs = recorded.context, recorded.outputs
            self._fill(part, shapes)
            self._device.launch(self.stream, recorded.graph)
        else:
            again = shapes in self._seen and self.refusal is None and not self.waiting
            context = self._network.create_context(settled=True) if again else self._common()
            outputs, scratch = context.set_shapes(shapes)
            for name, size in self._sizes(shapes, outputs).items():
                self._reserve(name, max(1, size))  # of nothing, no GPU has memory
            self._reserve("scratch", max(1, scratch))
            context.set_scratch(*self._memory["scratch"])
            self._fill(part, shapes)
            # Run it before it is recorded: engines finish their preparations in the first run.
            self._enqueue(context, shapes, outputs)
            if again:
                self._record(context, shapes, outputs)
            self._remember(shapes)
        count = len(part[0]) if part[0].ndim else 1
        rows = ticket.rows(first, count, outputs, self._targets)
        self.pending = _Pending(ticket, context, outputs, rows)

    def finish(self) -> None:
        """Wait for the part that is running and hand its rows over; the padding stays behind."""
        if self.pending is None:
            return
        self._device.synchronize(self.stream)
        pending, self.pending = self.pending, None
        for place, rows in enumerate(pending.rows):
            output = self._view(self._outputs[place], pending.outputs[place], self._targets[place])
            rows[...] = output[: len(rows)] if rows.ndim else output

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
        for shapes in list(self._recorded):
            with suppress(BackendError):
                self._forget(shapes)
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

    def _fill(self, part: Sequence[NDArray[Any]], shapes: Shapes) -> None:
        for place, array in enumerate(part):
            source = self._view(self._inputs[place], shapes[place], self._sources[place])
            if array.shape == shapes[place]:
                source[...] = array
            else:
                source[: len(array)] = array
                source[len(array) :] = 0

    def _sizes(self, shapes: Shapes, outputs: Shapes) -> dict[str, int]:
        """Bytes of each input and output."""
        names = (*self._inputs, *self._outputs)
        dtypes = (*self._sources, *self._targets)
        return {
            name: prod(shape) * dtype.itemsize
            for name, shape, dtype in zip(names, (*shapes, *outputs), dtypes, strict=True)
        }

    def _enqueue(self, context: Context, shapes: Shapes, outputs: Shapes) -> None:
        sizes = self._sizes(shapes, outputs)
        for name in filter(sizes.get, self._inputs):
            source = self._pinned[name][: sizes[name]]
            self._device.upload(self.stream, self._memory[name][0], source)
        context.enqueue(
            [self._memory[name][0] for name in self._inputs],
            [self._memory[name][0] for name in self._outputs],
            self.stream,
        )
        for name in filter(sizes.get, self._outputs):
            target = self._pinned[name][: sizes[name]]
            self._device.download(self.stream, target, self._memory[name][0])

    def _record(self, context: Context, shapes: Shapes, outputs: Shapes) -> None:
        """Record the work of some shapes as a graph; where that is refused, say why and go on."""
        self.refusal = context.why_no_capture(self.stream)
        if self.refusal is not None:
            return
        try:
            self._device.begin_capture(self.stream)
            try:
                self._enqueue(context, shapes, outputs)
            except BaseException:
                with suppress(BackendError):
                    self._device.destroy_graph(self._device.end_capture(self.stream))
                raise
            graph = self._device.end_capture(self.stream)
        except BackendError as error:
            self.refusal = str(error)
            return
        self._recorded[shapes] = _Recorded(context, graph, outputs)
        if len(self._recorded) > GRAPHS:
            self._forget(next(iter(self._recorded)))

    def _remember(self, shapes: Shapes) -> None:
        self._seen[shapes] = None
        self._seen.move_to_end(shapes)
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)

    def _forget(self, shapes: Shapes) -> None:
        """Destroy a graph that is not running."""
        self._device.destroy_graph(self._recorded.pop(shapes).graph)

    def _view(self, name: str, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
        return self._pinned[name][: prod(shape) * dtype.itemsize].view(dtype).reshape(shape)

    def _reserve(self, name: str, size: int) -> None:
        """Make a buffer large enough. Graphs hold its address, so they go when it moves."""
        if name in self._memory and self._memory[name][1] >= size:
            return
        for shapes in list(self._recorded):
            self._forget(shapes)
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
