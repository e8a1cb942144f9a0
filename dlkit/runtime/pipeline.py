"""read -> infer -> save: worker threads that each take a handful of files through all stages.

While one worker decodes, another runs the session and a third encodes: the stages overlap without
handing images from thread to thread, and every library call releases the GIL. The queue is bounded
by the number of workers, so memory stays flat however many files there are. What goes wrong with
one image is its result's ``error``.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import DlkitError, InputError, UsageError
from dlkit.runtime.folder import Source
from dlkit.runtime.session import Session

Item = TypeVar("Item")
Out = TypeVar("Out")

# Pixels of one batch, whatever its count: 16 scans of 678 x 384.
_BATCH_PIXELS = 4 << 20
STAGES = ("reading", "inference", "saving")


class Task(Protocol):
    """What a model does before and after its session; see ``dlkit.runtime.model.Model``."""

    def prepare(self, image: images.Image) -> tuple[images.Pixels, Any]:
        """An image as the session takes it, and what the answer must know of it."""
        ...

    def infer(self, call: Callable[[NDArray[Any]], NDArray[Any]], batch: NDArray[Any]) -> Any:
        """The output for a batch, by ``call`` of the session."""
        ...

    def finish_all(self, outputs: NDArray[Any], notes: Sequence[Any]) -> Sequence[Any]:
        """An answer, or the ``DlkitError`` in its place, for each row of an output."""
        ...


@dataclass(slots=True)
class Result:
    """The answer for one source, or why there is none.

    Attributes:
        size, modified: of the file when it was read: bytes, and nanoseconds since 1970.
    """

    source: Any
    answer: Any = None
    error: DlkitError | None = None
    size: int = 0
    modified: int = 0


@dataclass
class Seconds:
    """Where the workers' time went, in seconds, added up over all of them."""

    stages: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *seconds: float) -> None:
        """Add one chunk's time per stage."""
        with self._lock:
            for stage, more in zip(STAGES, seconds, strict=True):
                self.stages[stage] += more

    def bottleneck(self) -> tuple[str, float]:
        """The stage that takes most, and its share of all."""
        stage = max(self.stages, key=lambda name: self.stages[name])
        return stage, self.stages[stage] / (sum(self.stages.values()) or 1.0)


class Runner:
    """Images through a session, grouped into batches of one shape.

    A batch that fails is halved until it runs: one bad image costs only itself, and a batch that
    is too large for the memory is run in parts, as are all after it.
    """

    def __init__(self, task: Task, session: Session, batch: int) -> None:
        if batch < 1:
            raise UsageError(f"batch is {batch}, expected 1 or more")
        self.task, self.session, self.batch = task, session, batch
        self._lock = threading.Lock()

    def answer(self, loaded: Iterable[tuple[Result, images.Pixels, Any]]) -> None:
        """Fill in answer or error of each result."""
        groups: dict[tuple[int, ...], list[tuple[Result, images.Pixels, Any]]] = {}
        for item in loaded:
            groups.setdefault(item[1].shape, []).append(item)
        for shape, group in groups.items():
            at = 0
            while at < len(group):
                count = max(1, min(self.batch, _BATCH_PIXELS // int(np.prod(shape))))
                self._run(group[at : at + count])
                at += count

    def _run(self, group: list[tuple[Result, images.Pixels, Any]]) -> None:
        try:
            outputs = self.task.infer(self.call, np.stack([pixels for _, pixels, _ in group]))
            answers = self.task.finish_all(outputs, [note for _, _, note in group])
        except Exception as error:  # each backend has its own; none may cost the whole run
            if len(group) == 1:
                line = str(error).strip().partition("\n")[0]
                group[0][0].error = InputError(f"inference failed: {line}")
                return
            half = (len(group) + 1) // 2
            self._run(group[:half])
            self._run(group[half:])
            if all(result.error is None for result, _, _ in group):
                self.batch = min(self.batch, half)  # it was too large, not spoilt
            return
        for (result, _, _), answer in zip(group, answers, strict=True):
            if isinstance(answer, DlkitError):
                result.error = answer
            else:
                result.answer = answer

    def call(self, batch: NDArray[Any]) -> NDArray[Any]:
        """The session's output, from any thread."""
        if not hasattr(self.session, "submit"):
            with self._alone():
                return self.session(batch)
        with self._alone():
            ticket = self.session.submit(batch)
        with self._alone():
            output: NDArray[Any] = ticket.result()
            return output

    def _alone(self) -> AbstractContextManager[object]:
        return nullcontext() if self.session.concurrent else self._lock


class FileWork:
    """Takes a chunk of files through all stages; called in worker threads."""

    def __init__(self, runner: Runner, save: Callable[[Source, Any], None] | None = None) -> None:
        self.runner, self.save = runner, save
        self.seconds = Seconds()

    def __call__(self, chunk: Sequence[Source]) -> list[Result]:
        """Read, run and save; a result for each source, in order."""
        begun = time.perf_counter()
        results = [Result(source) for source in chunk]
        loaded = []
        for result in results:
            path = result.source.path
            try:
                data, status = images.read_bytes(path)
                result.size, result.modified = status.st_size, status.st_mtime_ns
                loaded.append((result, *self.runner.task.prepare(images.decode(data, path))))
            except DlkitError as error:
                result.error = error
        read = time.perf_counter()
        self.runner.answer(loaded)
        ran = time.perf_counter()
        if self.save is not None:
            for result in results:
                if result.error is None:
                    try:
                        self.save(result.source, result.answer)
                    except DlkitError as error:
                        result.error = error
                result.answer = None  # the image is on disk; do not hold it in memory
        self.seconds.add(read - begun, ran - read, time.perf_counter() - ran)
        return results


def run(
    work: Callable[[list[Item]], Out], items: Iterable[Item], chunk: int, workers: int
) -> Iterator[Out]:
    """``work`` over chunks of the items, in threads; outputs in order, at most a few ahead."""
    with _pool(workers) as pool:
        yield from _ahead(pool, work, _chunks(items, chunk), workers + 1)


def _chunks(items: Iterable[Item], count: int) -> Iterator[list[Item]]:
    source = iter(items)
    while chunk := list(itertools.islice(source, count)):
        yield chunk


def _ahead(
    pool: ThreadPoolExecutor, call: Callable[[Item], Out], items: Iterable[Item], ahead: int
) -> Iterator[Out]:
    """``map`` in a pool that pulls at most ``ahead`` items before they are asked for."""
    running: deque[Future[Out]] = deque()
    source = iter(items)
    for item in itertools.islice(source, ahead):
        running.append(pool.submit(call, item))
    while running:
        done = running.popleft().result()
        for item in itertools.islice(source, 1):
            running.append(pool.submit(call, item))
        yield done


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that are waited for on the way out: a file being written is finished."""
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
