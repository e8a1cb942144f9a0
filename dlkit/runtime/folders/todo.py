"""Which files of a folder are left to do, and doing them: each noted in the manifest."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dlkit.errors import DlkitError
from dlkit.runtime.folders.journal import Journal
from dlkit.runtime.folders.member import Member
from dlkit.runtime.folders.pace import Pace
from dlkit.runtime.folders.pipeline import FileWork, run
from dlkit.runtime.folders.result import Result
from dlkit.runtime.folders.sources import Source
from dlkit.runtime.folders.tally import Tally
from dlkit.storage import Stored, read_ahead

_SETTLED = 1.0  # seconds for which a file must not have changed, when a folder is watched

_PUTTING = 16  # chunks whose outputs are on the way to an object store, at most

Line = dict[str, Any]


@dataclass
class Todo:
    """Sources that are not done yet; those that are go to ``skip``.

    Attributes:
        skip: called for each that is done, with its line of the manifest and where that is.
        there: whether a source's output is still what the manifest's line says.
        watched: of a watched folder: leave out files that changed within the last second, and
            those that failed before and did not change; None when the folder is not watched.
    """

    journal: Journal
    skip: Callable[[int, Line], None]
    there: Callable[[Source, Line], bool] = lambda source, line: True
    watched: set[int] | None = None

    def of(self, sources: Iterable[Source]) -> Iterator[Source]:
        """What is left of them, one at a time."""
        if not len(self.journal) and self.watched is None:
            yield from sources
            return
        for source in sources:
            status: os.stat_result | Stored | Member
            try:
                # a million times
                status = source.stored or os.stat(source.path)  # noqa: PTH116
            except OSError:
                yield source  # reading it will say what is wrong
                continue
            if self.watched is not None and isinstance(status, os.stat_result):
                # a date in the future says nothing
                fresh = 0 <= time.time() - status.st_mtime < _SETTLED
                now = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                if fresh or seen_key(source.name, *now) in self.watched:
                    continue
            found = self.journal.answer(source.path, source.name, status)
            if found is not None and self.there(source, found[1]):
                self.skip(*found)
            else:
                yield source


def seen_key(name: str, size: int, modified: int, changed: int, inode: int) -> int:
    """Of a file as it was, for ``Todo.watched``."""
    return hash((name, size, modified, changed, inode))


def run_files(
    work: FileWork,
    sources: Iterable[Source],
    journal: Journal,
    tally: Tally,
    chunk: int,
    workers: int,
    line: Callable[[Result], Line] = lambda result: {},
    fail_fast: bool = False,
    watched: set[int] | None = None,
) -> Iterator[list[Line]]:
    """Run the files, note each in the manifest, count; yields the lines of each chunk.

    Args:
        chunk: files that a worker takes at once, at most.
        line: what the manifest keeps of an answer.
        fail_fast: stop after the first chunk with a failure.
        watched: takes the keys of files that failed.
    """
    stream = run(work, read_ahead(sources), Pace(chunk), workers, work.runner.session.stop)
    try:
        for results in _settled(stream):
            lines = [line(result) for result in results]
            journal.add(results, lines)
            for result, one in zip(results, lines, strict=True):
                one["file"] = result.source.name
                if result.error is not None:
                    one["error"] = str(result.error)
                    tally.fail(result.source.name, one["error"])
                    if watched is not None:
                        was = (result.size, result.modified, result.changed, result.inode)
                        watched.add(seen_key(result.source.name, *was))
                else:
                    tally.done += 1
            yield lines
            if fail_fast and tally.failed:
                return
    finally:
        stream.close()  # type: ignore[attr-defined]  # a generator: waits for files being written


def _settled(stream: Iterable[list[Result]]) -> Iterator[list[Result]]:
    """The results in their order, once their outputs are where they belong.

    Objects that are put take a while, in which the next ones are made.
    """
    waiting: deque[list[Result]] = deque()
    for results in stream:
        waiting.append(results)
        while waiting and (len(waiting) > _PUTTING or _is_put(waiting[0])):
            yield _put(waiting.popleft())
    yield from map(_put, waiting)


def _is_put(results: Iterable[Result]) -> bool:
    return all(result.putting is None or result.putting.done() for result in results)


def _put(results: list[Result]) -> list[Result]:
    for result in results:
        if result.putting is not None:
            try:
                result.written = result.putting.result()
            except DlkitError as error:
                result.error = error
            result.putting = None
    return results
