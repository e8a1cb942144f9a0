"""read -> infer -> write: three stages that overlap, each with a bounded queue.

Each stage is a generator that the next one pulls from, so memory stays flat however many images
there are. Reading and writing run in threads (OpenCV and file calls release the GIL) while the
caller's thread runs the session. What goes wrong with one image travels on as its ``error``.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import DlkitError, InputError, UsageError
from dlkit.runtime.session import Session

Source = TypeVar("Source")
Item = TypeVar("Item")
Out = TypeVar("Out")

Prepare = Callable[[images.Image], tuple[images.Pixels, Any]]
Finish = Callable[[NDArray[Any], Any], Any]

# Small files go to the readers in handfuls: a task for each would cost more than its decoding.
_CHUNK_FILES = 32
_CHUNK_BYTES = 1 << 20
# Pixels of one batch, whatever its count: 16 scans of 678 x 384.
_BATCH_PIXELS = 4 << 20
# Images of odd shapes that may wait for company, in batches.
_WAITING_BATCHES = 4


@dataclass(frozen=True)
class Loaded(Generic[Source]):
    """An image ready for the session, or why there is none.

    Attributes:
        pixels: uint8 (H, W); images of equal shape share a batch.
        note: what ``finish`` must know of the image.
    """

    source: Source
    pixels: images.Pixels | None
    note: Any = None
    error: DlkitError | None = None


@dataclass(frozen=True)
class Result(Generic[Source]):
    """The answer for one source, or why there is none."""

    source: Source
    answer: Any = None
    error: DlkitError | None = None


def read(
    sources: Iterable[Source],
    path_of: Callable[[Source], Path],
    prepare: Prepare,
    workers: int,
) -> Iterator[Loaded[Source]]:
    """Decode and prepare image files in threads, ahead of whoever pulls; order is kept."""

    def load(source: Source) -> Loaded[Source]:
        try:
            pixels, note = prepare(images.read(path_of(source)))
        except DlkitError as error:
            return Loaded(source, None, error=error)
        return Loaded(source, pixels, note)

    def load_all(chunk: list[Source]) -> list[Loaded[Source]]:
        return [load(source) for source in chunk]

    with _pool(workers) as pool:
        for done in _ahead(pool, load_all, _chunks(sources, path_of), workers + 1):
            yield from done


def infer(
    loaded: Iterable[Loaded[Source]], session: Session, finish: Finish, batch: int
) -> Iterator[Result[Source]]:
    """Run the session over batches of equal shape, in the caller's thread.

    A batch that fails is run again image by image, so that one bad image costs only itself.

    Raises:
        UsageError: batch below 1.
    """
    if batch < 1:
        raise UsageError(f"batch is {batch}, expected 1 or more")
    waiting: dict[tuple[int, ...], list[Loaded[Source]]] = {}
    count = 0
    for item in loaded:
        if item.pixels is None:
            yield Result(item.source, error=item.error)
            continue
        group = waiting.setdefault(item.pixels.shape, [])
        group.append(item)
        count += 1
        full = len(group) >= batch or len(group) * item.pixels.size >= _BATCH_PIXELS
        if not full and count > _WAITING_BATCHES * batch:
            full, group = True, max(waiting.values(), key=len)
        if full:
            shape = next(item.pixels.shape for item in group if item.pixels is not None)
            del waiting[shape]
            count -= len(group)
            yield from _run(group, session, finish)
    for group in waiting.values():
        yield from _run(group, session, finish)


def write(
    results: Iterable[Result[Source]], save: Callable[[Source, Any], None], workers: int
) -> Iterator[Result[Source]]:
    """Save answers in threads; yields each result when its file is whole, or with the error."""

    def save_one(result: Result[Source]) -> Result[Source]:
        if result.error is not None:
            return result
        try:
            save(result.source, result.answer)
        except DlkitError as error:
            return replace(result, answer=None, error=error)
        return replace(result, answer=None)  # the image is on disk; do not hold it in memory

    with _pool(workers) as pool:
        yield from _ahead(pool, save_one, results, 2 * workers)


def _run(group: list[Loaded[Source]], session: Session, finish: Finish) -> Iterator[Result[Source]]:
    try:
        outputs = session(np.stack([item.pixels for item in group if item.pixels is not None]))
    except Exception as error:  # each backend has its own; none may cost the whole run
        if len(group) == 1:
            line = str(error).strip().partition("\n")[0]
            yield Result(group[0].source, error=InputError(f"inference failed: {line}"))
            return
        for item in group:
            yield from _run([item], session, finish)
        return
    for item, output in zip(group, outputs, strict=True):
        try:
            yield Result(item.source, finish(output, item.note))
        except DlkitError as error:
            yield Result(item.source, error=error)


def _chunks(sources: Iterable[Source], path_of: Callable[[Source], Path]) -> Iterator[list[Source]]:
    chunk: list[Source] = []
    size = 0
    for source in sources:
        chunk.append(source)
        with suppress(OSError):  # reading it will say what is wrong
            size += path_of(source).stat().st_size
        if len(chunk) >= _CHUNK_FILES or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
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
