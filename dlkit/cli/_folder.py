"""What ``recognize`` and ``denoise`` share: run a folder, show how far it is, sum up."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from dlkit.cli._load import Loaded
    from dlkit.runtime.folder import Source
    from dlkit.runtime.folder_run import Line, Tally
    from dlkit.runtime.pipeline import FileWork, Result
    from dlkit.runtime.table import Table

_PAUSE = 1.0  # least seconds between two looks at a watched folder
_SHOW = 0.1  # seconds between two updates of the live line


@dataclass(frozen=True)
class Flags:
    """How a folder is run; the options of the command line."""

    overwrite: bool = False
    watch: bool = False
    dry_run: bool = False
    fail_fast: bool = False


@dataclass(frozen=True)
class Job:
    """What is run over which files.

    Attributes:
        sources: lists the inputs, anew each time.
        manifest: its file.
        setting: what else the answers depend on; others of the manifest do not count.
        there: whether a source's output still exists.
        line: what the manifest keeps of an answer.
        table: opens what takes a row for every file of one pass, done before or now.
        more: runs what is no image file and adds to the table; yields now and then.
    """

    loaded: Loaded
    work: FileWork
    sources: Callable[[], Iterator[Source]]
    manifest: Path
    there: Callable[[Source], bool]
    line: Callable[[Result], Line]
    table: Callable[[], AbstractContextManager[Table | None]] = nullcontext
    more: Callable[[Tally, Table | None], Iterator[object]] = lambda *_: iter(())
    setting: str = ""

    @property
    def key(self) -> str:
        """Of what computes the answers, for the manifest."""
        return hashlib.sha256(f"{self.loaded.sha256} {self.setting}".encode()).hexdigest()


def execute(job: Job, flags: Flags, console: Console) -> int:
    """Run a job as the flags say; gives the exit code."""
    from dlkit.runtime.folder_run import Tally

    # A worker that comes back from a library waits for the GIL up to this long, 5 ms by default:
    # more than it takes to decode a hundred digits.
    sys.setswitchinterval(5e-4)
    if flags.dry_run:
        return _dry_run(job, flags, console)
    tally = Tally()
    if flags.watch:
        _watch(job, flags, tally, console)
    else:
        _once(job, flags, tally, None, console)
    return sum_up(tally, job.manifest, console)


def _once(job: Job, flags: Flags, tally: Tally, failed: set[int] | None, console: Console) -> None:
    """One pass over the inputs, counted in ``tally``."""
    from dlkit.runtime.folder_run import Todo, run_files
    from dlkit.runtime.journal import Journal

    journal = Journal(job.manifest, job.key, flags.overwrite)
    try:
        with job.table() as table:

            def skip(line: Line) -> None:
                tally.skipped += 1
                if table is not None:
                    table.add_lines([line])

            def passes() -> Iterator[object]:
                for lines in files:
                    if table is not None:
                        table.add_lines(lines)
                    yield None
                yield from job.more(tally, table)

            todo = Todo(journal, skip, job.there, failed)
            files = run_files(
                job.work,
                todo.of(job.sources()),
                journal,
                tally,
                job.loaded.chunk,
                job.loaded.workers,
                job.line,
                flags.fail_fast,
                failed,
            )
            try:
                _follow(passes(), tally, job, console)
            finally:
                files.close()  # type: ignore[attr-defined]  # waits for files being written
    finally:
        journal.close()
    if journal.broken is not None:
        tally.fail(job.manifest.name, f"{journal.broken}; a second run will not know what is done")


def _follow(stream: Iterator[object], tally: Tally, job: Job, console: Console) -> None:
    """Run the stream to its end behind a live line: rate, bottleneck, time left."""
    stop = threading.Event()
    total: list[int] = []

    def count() -> None:
        found = 0
        for _ in job.sources():
            found += 1
            if stop.is_set():
                return
        total.append(found)

    counting = threading.Thread(target=count, daemon=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("starting", total=None, rate=0.0)
        counting.start()
        shown = 0.0
        try:
            for _ in stream:
                if (now := time.monotonic()) - shown > _SHOW:
                    stage, share = job.work.seconds.bottleneck()
                    progress.update(
                        bar,
                        description=f"{stage} takes {share:.0%}",
                        completed=tally.all,
                        total=total[0] if total else None,
                        rate=tally.done / tally.seconds,
                    )
                    shown = now
        finally:
            stop.set()
            counting.join()


def _watch(job: Job, flags: Flags, whole: Tally, console: Console) -> None:
    """Repeat a run until Ctrl-C; adds up all passes."""
    from dlkit.runtime.folder_run import Tally

    failed: set[int] = set()
    console.print("watching; Ctrl-C ends", style="dim")
    try:
        while True:
            begun = time.monotonic()
            tally = Tally()
            try:
                _once(job, flags, tally, failed, console)
            finally:  # Ctrl-C in the middle of a pass, too
                whole.done += tally.done
                whole.failed += tally.failed
                whole.failures += tally.failures
            flags = replace(flags, overwrite=False)
            # A pass over a large folder must not keep a processor busy by itself.
            time.sleep(max(_PAUSE, 5 * (time.monotonic() - begun)))
    except KeyboardInterrupt:
        return


def _dry_run(job: Job, flags: Flags, console: Console) -> int:
    from dlkit.runtime.folder_run import Todo
    from dlkit.runtime.journal import Journal

    done: list[int] = [0]

    def skip(_: Line) -> None:
        done[0] += 1

    journal = Journal(job.manifest, job.key, flags.overwrite, read_only=True)
    try:
        todo = sum(1 for _ in Todo(journal, skip, job.there).of(job.sources()))
    finally:
        journal.close()
    console.print(f"would do {todo}, done before {done[0]}; nothing was written", highlight=False)
    return 0


def sum_up(tally: Tally, manifest: Path, console: Console) -> int:
    """Print failures and figures; gives the exit code."""
    for name, error in tally.failures:
        text = error if name in error else f"{name}: {error}"
        console.print(f"failed: {escape(text)}", style="red", highlight=False, soft_wrap=True)
    if (more := tally.failed - len(tally.failures)) > 0:
        console.print(f"... and {more} more failed: {manifest}", style="red", soft_wrap=True)
    before = f"{tally.skipped} done before, " if tally.skipped else ""
    console.print(
        f"{before}{tally.done} done, {tally.failed} failed, "
        f"{tally.seconds:.1f} s, {(tally.done + tally.failed) / tally.seconds:.0f} images/s",
        highlight=False,
    )
    return 1 if tally.failed else 0
