"""read -> infer -> save: worker threads that each take a handful of files through all stages.

While one worker decodes, another runs the session and a third encodes: the stages overlap without
handing images from thread to thread, and every library call releases the GIL. The queue is bounded
by the number of workers, so memory stays flat however many files there are. What goes wrong with
one file is its result's ``error``.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from dlkit import images
from dlkit.errors import DlkitError, MachineError
from dlkit.runtime.folders.pace import Pace
from dlkit.runtime.folders.result import Result
from dlkit.runtime.folders.sources import Source
from dlkit.runtime.runner import Prepared, Runner

Item = TypeVar("Item")
Out = TypeVar("Out")

STAGES = ("reading", "inference", "saving")
_SMALL = 1 << 13  # bytes of a file


class Whole(Protocol):
    """An image with several things to be answered for; see ``dlkit.reading.reading.Reading``."""

    @property
    def squares(self) -> list[images.UInt8]:
        """Each as the graph takes it."""
        ...

    def page(self, answers: Sequence[Any]) -> Any:
        """The answer for the image, from one for each square."""
        ...


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


class Saving(Protocol):
    """Where answers go; see ``dlkit.runtime.folders.outputs.Outputs``."""

    def save(self, results: Sequence[Result]) -> None:
        """Write the answers of some files; each result takes what was written, or will be, or why
        nothing was."""
        ...


class FileWork:
    """Takes a chunk of files through all stages; called in worker threads.

    Args:
        saving: where what is made of an answer goes; None where nothing is written.
        keep: the answers are wanted after they were saved.
        whole: what is to be answered for in a sample; None where it is the sample itself.
        frames: of a file that are taken: ``all``, ``first``, or the number of one, from 1. Where
            it has several, its answer is a list.

    Attributes:
        bugs: what went wrong and is no fault of an input or of the machine.
    """

    def __init__(
        self,
        runner: Runner,
        saving: Saving | None = None,
        keep: bool = False,
        whole: Callable[[Any], Whole | None] = lambda sample: None,
        frames: str = "all",
    ) -> None:
        self.runner, self.saving, self.keep, self.whole = runner, saving, keep, whole
        self.frames = frames
        self.seconds = Seconds()
        self.bugs: list[Exception] = []
        # Reading small files is Python's work for the most part: threads that fight for the
        # interpreter's lock lose more time than they win. One of them reads, the others compute.
        self._turn, self._small = threading.Lock(), False

    def __call__(self, chunk: Sequence[Source]) -> list[Result]:
        """Read, run and save; a result for each source, in order."""
        try:
            return self._through(chunk)
        except Exception as error:  # a bug: the others of the chunk are done all the same
            if len(chunk) > 1:
                return [result for source in chunk for result in self([source])]
            self.bugs.append(error)
            what = f"a bug in dlkit or in a plug-in: {type(error).__name__}: {error}"
            return [Result(chunk[0], error=MachineError(what, "The traceback is below"))]

    def _through(self, chunk: Sequence[Source]) -> list[Result]:
        results = [Result(source) for source in chunk]
        with self._turn if self._small else nullcontext():
            begun = time.perf_counter()
            decoded = [_tried(result, self._decode, result) for result in results]
        local = chunk[0].stored is None
        self._small = local and sum(one.size for one in results) < _SMALL * len(results)
        loaded: list[Prepared] = []
        places: list[tuple[Result, list[tuple[int, Whole | None]]]] = []
        for result, samples in zip(results, decoded, strict=True):
            if samples is not None:
                prepared = _tried(result, self._prepare, samples, loaded)
                if prepared is not None:
                    places.append((result, prepared))
        read = time.perf_counter()
        answers = self.runner.answer(loaded)
        for result, samples in places:
            if len(samples) == 1 and samples[0][1] is None:  # nearly all of them
                answer = answers[samples[0][0]]
                if isinstance(answer, DlkitError):
                    result.error = answer
                else:
                    result.answer = answer
                continue
            found: list[Any] = []
            for at, whole in samples:
                parts = answers[at : at + (1 if whole is None else len(whole.squares))]
                wrong = next((part for part in parts if isinstance(part, DlkitError)), None)
                result.error = result.error or wrong
                if wrong is None:
                    found.append(parts[0] if whole is None else whole.page(parts))
            if result.error is None:
                result.answer = found[0] if len(found) == 1 else found
        ran = time.perf_counter()
        if self.saving is not None:
            self.saving.save([result for result in results if result.error is None])
            if not self.keep:
                for result in results:
                    result.answer = None  # the image is on disk; do not hold it in memory
        self.seconds.add(read - begun, ran - read, time.perf_counter() - ran)
        return results

    def _decode(self, result: Result) -> list[Any]:
        """A file's samples."""
        path = result.source.path
        if (stored := result.source.stored) is None:
            data, status = images.read_bytes(path)
            result.size, result.modified = status.st_size, status.st_mtime_ns
            result.changed, result.inode = status.st_ctime_ns, status.st_ino
        else:
            data, result.etag = stored.read()
            result.size = len(data)
        return self.runner.model.decode_all(data, path, self.frames)

    def _prepare(
        self, samples: Sequence[Any], loaded: list[Prepared]
    ) -> list[tuple[int, Whole | None]]:
        """Add a file's samples to what is loaded; gives the place of each there."""
        mine: list[Prepared] = []
        places: list[tuple[int, Whole | None]] = []
        at = len(loaded)
        for sample in samples:
            whole = self.whole(sample)
            places.append((at + len(mine), whole))
            if whole is None:
                mine.append(self.runner.model.prepare(sample))
            else:
                mine += zip(whole.squares, itertools.repeat(None), strict=False)
        loaded += mine
        return places


def _tried(result: Result, call: Callable[..., Out], *arguments: Any) -> Out | None:
    """What a call gives; None where it fails, and then the result has its error."""
    try:
        return call(*arguments)
    except DlkitError as error:
        result.error = error
    except MemoryError:
        result.error = MachineError(
            "there is not enough memory for it", "Give a smaller --batch or --workers"
        )
    return None


def run(
    work: Callable[[list[Item]], Out],
    items: Iterable[Item],
    pace: Pace,
    workers: int,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[Out]:
    """``work`` over chunks of the items, in threads; outputs in order, at most a few ahead.

    Args:
        stop: called at Ctrl-C, to end what would else be waited for.
    """

    def timed(chunk: list[Item]) -> Out:
        begun = time.perf_counter()
        done = work(chunk)
        pace.took(len(chunk), time.perf_counter() - begun)
        return done

    workers = _threads(workers)
    chunks = _chunks(items, pace)
    if not workers:
        yield from map(timed, chunks)
        return
    with _pool(workers) as pool:
        try:
            yield from _ahead(pool, timed, chunks, workers + 1)
        except KeyboardInterrupt:
            stop()
            raise


def _chunks(items: Iterable[Item], pace: Pace) -> Iterator[list[Item]]:
    source = iter(items)
    while chunk := list(itertools.islice(source, pace.size)):
        yield chunk


def _threads(wanted: int) -> int:
    """How many of the wanted threads the system lets start."""
    end = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(wanted):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError:  # can't start new thread
        pass
    finally:
        end.set()
        for thread in started:
            thread.join()
    return len(started)


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
