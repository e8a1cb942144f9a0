"""A folder run from start to end: one pass, a watched folder, or only what would be done.

Every input is done or listed; outputs appear whole or not at all; a second run goes on where the
first stopped. The command line shows how far it is; nothing is printed here.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dlkit.atomic import clean_parts
from dlkit.runtime.folders.feeding import Feeding
from dlkit.runtime.folders.ignored import REASON, among_outputs
from dlkit.runtime.folders.journal import Journal
from dlkit.runtime.folders.ordered import Ordered
from dlkit.runtime.folders.outputs import Outputs
from dlkit.runtime.folders.pipeline import FileWork, Seconds
from dlkit.runtime.folders.result import Result
from dlkit.runtime.folders.sources import Inputs, LeftOut, Source
from dlkit.runtime.folders.stored_journal import StoredJournal
from dlkit.runtime.folders.stored_outputs import StoredOutputs
from dlkit.runtime.folders.table import Table
from dlkit.runtime.folders.tally import Tally
from dlkit.runtime.folders.todo import Line, Todo, run_files
from dlkit.storage import Address, Place
from dlkit.tasks import Model

_DAMAGED = "lines of the manifest, damaged or edited (--overwrite begins anew)"
_PAUSE = 1.0  # least seconds between two looks at a watched folder
Watch = Callable[[Tally, Seconds], None]


@dataclass(frozen=True)
class Options:
    """How a folder is run.

    Attributes:
        overwrite: do everything anew, whatever the manifest says.
        watch: go on, with new files as they appear, until Ctrl-C.
        fail_fast: stop after the first failure.
    """

    overwrite: bool = False
    watch: bool = False
    fail_fast: bool = False


def open_journal(manifest: Place, key: str, forget: bool, read_only: bool) -> Journal:
    """The journal of a manifest, as ``Journal`` has its arguments."""
    if isinstance(manifest, Address):
        return StoredJournal(manifest, key, forget, read_only)
    return Journal(manifest, key, forget, read_only)


def no_table(journal: Journal, replace: bool) -> AbstractContextManager[None]:
    """Of a job that has none."""
    return nullcontext()


@dataclass(frozen=True)
class Job:
    """What is run over which files.

    Attributes:
        sources: the inputs.
        manifest: its file or address.
        key: of what computes the answers; others of the manifest do not count.
        outputs: files that are written; None where there are none.
        outputs_in: their folder; None where there is none.
        line: what the manifest keeps of an answer.
        table: opens what takes a row for every file of one pass, done before or now; takes the
            manifest, and whether a table is replaced whatever it is.
        more: runs what is no single file and adds to the table; yields now and then.
        opens: opens the manifest; see ``open_journal``.
    """

    work: FileWork
    feeding: Feeding
    sources: Inputs
    manifest: Place
    key: str
    outputs: Outputs | StoredOutputs | None = None
    outputs_in: Path | None = None
    line: Callable[[Result], Line] = lambda result: {}
    table: Callable[[Journal, bool], AbstractContextManager[Table | None]] = no_table
    more: Callable[[Tally, Table | None], Iterator[object]] = lambda *_: iter(())
    opens: Callable[[Any, str, bool, bool], Journal] = open_journal

    def run(
        self, options: Options, watch: Watch = lambda *_: None, tally: Tally | None = None
    ) -> Tally:
        """Do it.

        Args:
            watch: called now and then with how far it is.
            tally: takes what is done, for who wants it also where this raises.
        """
        # A worker that comes back from a library waits for the GIL up to this long, 5 ms by
        # default: more than it takes to decode a hundred digits.
        before = sys.getswitchinterval()
        sys.setswitchinterval(5e-4)
        tally = tally or Tally()
        try:
            with self.outputs or nullcontext():
                if options.watch:
                    self._watch(options, tally, watch)
                else:
                    self._pass(options, tally, None, watch)
        finally:
            sys.setswitchinterval(before)
        return tally

    def would_do(self, overwrite: bool = False) -> tuple[int, int]:
        """Files that are left, and files that are done; nothing is written."""
        done = 0

        def skip(place: int, line: Line) -> None:
            nonlocal done
            done += 1

        journal = self.opens(self.manifest, self.key, overwrite, True)
        if self.outputs is not None:
            self.outputs.begin(journal, overwrite)
        try:
            todo = sum(1 for _ in Todo(journal, skip, self.there).of(self.sources()))
        finally:
            journal.close()
        return todo, done

    def _pass(self, options: Options, tally: Tally, failed: set[int] | None, watch: Watch) -> None:
        """One pass over the inputs, counted in ``tally``."""
        journal = self.opens(self.manifest, self.key, options.overwrite, False)
        if self.outputs is not None:
            self.outputs.begin(journal, options.overwrite)
        try:
            self.say_passed_over(journal, tally.left_out)
            if journal.known and self.outputs_in is not None:
                clean_parts(self.outputs_in)  # of runs that were killed: the manifest is locked
            with self.table(journal, options.overwrite) as table:
                rows = Ordered(table, journal.line)

                def skip(place: int, line: Line) -> None:
                    tally.skipped += 1
                    rows.before(place, line)

                todo = Todo(journal, skip, self.there, failed)
                files = run_files(
                    self.work,
                    rows.counted(todo.of(self.sources(tally.left_out))),
                    journal,
                    tally,
                    self.feeding.chunk,
                    self.feeding.workers,
                    self.line,
                    options.fail_fast,
                    failed,
                )
                try:
                    for lines in files:
                        rows.add(lines)
                        watch(tally, self.work.seconds)
                    rows.close()
                    for _ in self.more(tally, table):
                        watch(tally, self.work.seconds)
                finally:
                    files.close()  # type: ignore[attr-defined]  # waits for files being written
            journal.finish()
        finally:
            journal.close()
        if self.work.bugs:
            raise self.work.bugs[0]
        if journal.broken is not None:
            why = f"{journal.broken}; a second run will not know what is done"
            tally.fail(self.manifest.name, why)

    def say_passed_over(self, journal: Journal, left_out: LeftOut) -> None:
        """Tell what no listing of the inputs tells: what lies among the outputs, and lines of the
        manifest that do not count."""
        if journal.damaged:
            left_out.add(_DAMAGED, str(self.manifest), journal.damaged)
        for name in among_outputs(self.sources, self.outputs):
            left_out.add(REASON, name)

    def there(self, source: Source, line: Line) -> bool:
        """Whether the output of a source is still as the manifest's line has it."""
        return self.outputs is None or self.outputs.there(source, line)

    def _watch(self, options: Options, whole: Tally, watch: Watch) -> None:
        """Repeat passes until Ctrl-C; adds up all of them."""
        failed: set[int] = set()
        try:
            while True:
                begun = time.monotonic()
                tally = Tally()
                try:
                    self._pass(options, tally, failed, watch)
                finally:  # Ctrl-C in the middle of a pass, too
                    whole.done += tally.done
                    whole.failed += tally.failed
                    whole.failures += tally.failures
                    whole.left_out = tally.left_out
                options = replace(options, overwrite=False)
                # A pass over a large folder must not keep a processor busy by itself.
                time.sleep(max(_PAUSE, 5 * (time.monotonic() - begun)))
        except KeyboardInterrupt:
            return


def answer_key(model: Model[Any, Any, Any], setting: str = "") -> str:
    """Of what computes a model's answers, for a manifest.

    Args:
        setting: what else they depend on.
    """
    session, bundle = model.opened.session, model.bundle
    own = f"{session.sha256} {bundle.spec_sha256} {session.backend} {model.setting}"
    text = f"{own} {setting}"
    return hashlib.sha256(text.encode()).hexdigest()
