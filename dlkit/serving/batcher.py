"""Rows of waiting requests, run together: one queue and some threads for each model.

The queue lives in the event loop, so it needs no locks; threads only compute. While they do, what
arrives waits and becomes the next batch: nobody waits for a batch to fill unless ``delay`` says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from dlkit.serving.calls import Arrays, Call, Graph, GraphError, Key, Limits, Watch, run_together
from dlkit.serving.refused import RefusedError

_LOG = logging.getLogger(__name__)
_BATCH_ELEMENTS = 4 << 20  # of one batch's first input, whatever its rows: 16 scans of 678 x 384
_BUSY = 1.0  # seconds after which a client may try again, where nothing is known yet


@dataclass
class Batcher:
    """The queue of one model.

    Attributes:
        graph: run in a thread.
        joins: rows of several calls may be put into one.
        waiting: rows that wait; running: batches that run.
    """

    graph: Graph
    limits: Limits
    joins: bool = True
    watch: Watch = field(default_factory=Watch)
    name: str = "model"

    def __post_init__(self) -> None:
        self.waiting = 0
        self.running = 0
        self._closed = False
        self._queues: dict[Key, deque[Call]] = {}
        self._soon = False  # a dispatch is on its way
        self._later: asyncio.TimerHandle | None = None  # one for who waits for others
        self._idle = asyncio.Event()
        self._idle.set()
        self._row_seconds = 0.0  # of late, so that a refusal can say when to come back
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(self.limits.workers, f"dlkit-{self.name}")

    async def answer(self, feeds: Arrays, rows: int, deadline: float | None = None) -> Arrays:
        """The graph's outputs for some rows, however many; cancelled, it leaves the queue.

        Args:
            feeds: an array for every input, of ``rows`` rows each.
            deadline: of ``time.monotonic``.

        Raises:
            RefusedError: the queue is full, the deadline passed, or the graph failed on these rows.
        """
        most = self.most(feeds)
        if rows <= most or not self.joins:
            calls = [self._call(feeds, rows, deadline)]
        else:
            calls = [
                self._call(
                    {name: array[at : at + most] for name, array in feeds.items()},
                    min(most, rows - at),
                    deadline,
                )
                for at in range(0, rows, most)
            ]
        self._admit(calls, rows)
        try:
            if len(calls) == 1:
                return await calls[0].future
            parts = await asyncio.gather(*(call.future for call in calls))
        except BaseException:
            for call in calls:
                self._forget(call)
            raise
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def most(self, feeds: Arrays) -> int:
        """Most rows of such inputs in one batch."""
        first = next(iter(feeds.values()))
        size = first.size // max(1, len(first)) if first.ndim else 1
        return max(1, min(self.limits.batch, _BATCH_ELEMENTS // max(1, size)))

    async def drain(self) -> None:
        """Wait until nothing waits or runs; calls that come later are refused."""
        self._closed = True
        await self._idle.wait()

    async def close(self) -> None:
        """``drain``, and let the threads go."""
        await self.drain()
        self._pool.shutdown(wait=False)

    def _call(self, feeds: Arrays, rows: int, deadline: float | None) -> Call:
        key = tuple(array.shape[1:] for array in feeds.values()) if self.joins else ()
        return Call(feeds, rows, key, self._loop.create_future(), time.monotonic(), deadline)

    def _admit(self, calls: Sequence[Call], rows: int) -> None:
        """All of a request's calls, or none: one that alone is beyond the queue may come when
        nobody waits."""
        if self._closed:
            self.watch.refused("closed")
            raise RefusedError(503, "the model is being unloaded", retry_after=_BUSY)
        if self.waiting and self.waiting + rows > self.limits.queue:
            self.watch.refused("queue")
            raise RefusedError(
                503,
                f"the queue is full: {self.waiting} rows wait, at most {self.limits.queue} may",
                retry_after=self.wait_seconds() or _BUSY,
            )
        for call in calls:
            queue = self._queues.get(call.key)
            if queue is None:
                queue = self._queues[call.key] = deque()
            queue.append(call)
            self.waiting += call.rows
            if call.deadline is not None:
                left = call.deadline - call.arrived
                call.timer = self._loop.call_later(left, self._expire, call)
        self._idle.clear()
        if not self._soon and self.running < self.limits.workers:
            # after all that has arrived by now was read: it may run together
            self._soon = True
            self._loop.call_soon(self._dispatch)

    def wait_seconds(self) -> float:
        """How long the rows that wait will take, by those of late."""
        return self.waiting * self._row_seconds / self.limits.workers

    def _expire(self, call: Call) -> None:
        if not call.future.done():
            self.watch.refused("deadline")
            self._forget(call)
            call.future.set_exception(
                RefusedError(503, "the deadline passed before the request could run")
            )

    def _forget(self, call: Call) -> None:
        """Out of the queue, where it still is in it."""
        if call.timer is not None:
            call.timer.cancel()
        queue = self._queues.get(call.key)
        if queue is not None and call in queue:
            queue.remove(call)
            self.waiting -= call.rows
            if not queue:
                del self._queues[call.key]
        self._rest()

    def _rest(self) -> None:
        if not self._queues and not self.running:
            self._idle.set()

    def _dispatch(self) -> None:
        self._soon = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        while self._queues and self.running < self.limits.workers:
            oldest = min(self._queues.values(), key=lambda queue: queue[0].arrived)
            if self.limits.delay and not self._full(oldest):
                left = oldest[0].arrived + self.limits.delay - time.monotonic()
                if left > 0:
                    self._later = self._loop.call_later(left, self._dispatch)
                    return
            self._start(self._take(oldest))

    def _full(self, queue: deque[Call]) -> bool:
        most = self.most(queue[0].feeds) if self.joins else 1
        rows = 0
        for call in queue:
            rows += call.rows
            if rows >= most:
                return True
        return False

    def _take(self, queue: deque[Call]) -> list[Call]:
        """The next batch: whole calls, in the order in which they came."""
        first = queue.popleft()
        taken, rows = [first], first.rows
        if self.joins:
            most = self.most(first.feeds)
            while queue and rows + queue[0].rows <= most:
                taken.append(queue.popleft())
                rows += taken[-1].rows
        if not queue:
            del self._queues[first.key]
        for call in taken:
            self.waiting -= call.rows
            if call.timer is not None:
                call.timer.cancel()
        return taken

    def _start(self, calls: list[Call]) -> None:
        self.running += 1
        self._pool.submit(self._compute, calls)

    def _compute(self, calls: list[Call]) -> None:
        """In a thread. Whatever happens here, the loop hears of it."""
        began = time.monotonic()
        try:
            found = run_together(self.graph, calls)
        except BaseException as error:  # a bug: it must neither stop the queue nor be silent
            _LOG.exception("a bug while %s ran", self.name)
            found = [error] * len(calls)
        self._loop.call_soon_threadsafe(self._done, calls, found, began, time.monotonic())

    def _done(
        self, calls: list[Call], found: list[Arrays | BaseException], began: float, ended: float
    ) -> None:
        self.running -= 1
        rows = sum(call.rows for call in calls)
        recent = (ended - began) / rows
        self._row_seconds += (recent - self._row_seconds) * (0.1 if self._row_seconds else 1.0)
        self.watch.batch(calls, began, ended)
        for call, answer in zip(calls, found, strict=True):
            if call.future.done():  # its client is gone
                continue
            if isinstance(answer, GraphError):
                self.watch.failed()
                call.future.set_exception(RefusedError(500, "the model failed on this input"))
            elif isinstance(answer, BaseException):
                self.watch.failed()
                call.future.set_exception(RefusedError(500, "internal error"))
            else:
                call.future.set_result(answer)
        self._dispatch()
        self._rest()
