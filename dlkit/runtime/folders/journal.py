"""The manifest of a folder run: one JSON line a file, so that a second run goes on from there.

Each line says what was read (place, size, dates and inode of a file, or the ETag of an object),
what computed (one hash of model and settings), and what came of it. Lines are appended as files are
finished, so a run that is killed loses at most the few files under way; a last line that is cut is
ignored, and one whose sum is not its own (see ``lines``) does not count.

Two kinds of lines come before something is written, which is then dlkit's own and may be replaced
by a later run, as long as it is what the line says: ``"claim"`` has outputs' places (seen from the
manifest's folder), sizes and sums, ``"table"`` what the table will be. Of objects the line itself
has the place, in ``"to"``. ``"end"`` is the last line of a run that was not cut off.
"""

from __future__ import annotations

import io
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import IO, Any

from dlkit.atomic import check_file, lock
from dlkit.errors import DlkitError, InputError, MachineError, UsageError
from dlkit.runtime.folders.content import Content
from dlkit.runtime.folders.journal_index import Index, hash_of, key_of, state_of
from dlkit.runtime.folders.lines import as_lines, checked, plain
from dlkit.runtime.folders.member import Member
from dlkit.runtime.folders.result import Result
from dlkit.storage import Stored


class Journal:
    """The lines of earlier runs, by what was read; and this run's, on their way into the file.

    Args:
        path: the manifest.
        model: SHA-256 of what computes; other models' answers do not count.
        forget: nothing counts as done.
        read_only: look only; nothing is written.
        shown: what it is called in messages.

    Attributes:
        damaged: lines that are damaged or were edited; what they say does not count.
        tables: what the table was, and may be: see ``table_files``.
        cut: the last run was killed, or the machine was: its last lines may be lost.

    Raises:
        UsageError: another run is writing it.
        InputError: it is no manifest.
        MachineError: it cannot be opened.
    """

    def __init__(
        self, path: Path, model: str, forget: bool = False, read_only: bool = False,
        shown: str = "",
    ) -> None:  # fmt: skip
        self.path = path
        self._shown = shown or str(path)
        self._model = model[:16]
        self._here = f"{Path.cwd()}{os.sep}"  # os.path.abspath takes its time
        self.broken: str | None = None
        self._writing = threading.Lock()
        self.known = path.exists()
        if not read_only:
            check_file(path, "the manifest")
        self._file: IO[bytes] = io.BytesIO()
        try:
            if not read_only:
                self._file = path.open("ab", buffering=0)
                if not lock(self._file):
                    raise UsageError(
                        f"another run is writing into {path.parent}",
                        "Wait for it, or choose another --out",
                    )
            self._index = Index(path, self._model)
            self._whole = self._begin(forget)
            self._file.truncate(self._whole)
            self._lines: IO[bytes] = path.open("rb") if path.exists() else io.BytesIO()
        except DlkitError:
            self._file.close()
            raise
        except OSError as error:
            self._file.close()
            raise MachineError(f"{self._shown} cannot be opened ({error.strerror})") from error
        self.damaged, self.tables = self._index.damaged, self._index.tables
        self._forgot = forget
        self._ended = self._index.ended
        self.cut = self.known and not self._ended

    def __len__(self) -> int:
        """How many files earlier runs finished."""
        return 0 if self._forgot else len(self._index.keys)

    def answer(
        self, path: str, name: str, status: os.stat_result | Stored | Member
    ) -> tuple[int, dict[str, Any]] | None:
        """An earlier answer for this very file and model: where its line is, and the line."""
        if self._forgot:
            return None
        if isinstance(status, Stored | Member):
            key = key_of(path, status.size, status.etag, self._model)
        else:
            path = path if path.startswith(os.sep) else self._here + path
            state = state_of(status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            key = key_of(path, status.st_size, state, self._model)
        place = self._index.place(key)
        if place is None:
            return None
        line = self.line(place)
        return (place, line) if line["file"] == name else None

    def line(self, place: int) -> dict[str, Any]:
        """The line there."""
        self._lines.seek(place)
        found = plain(self._lines.readline())
        if found is None:  # it had its sum when the run began
            raise InputError(f"{self._shown} was changed while the run read it", "Run it again")
        line: dict[str, Any] = json.loads(found)
        return line

    def inside(self, archive: str, etag: str) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
        """What earlier runs did of an archive: lines that count as it is now, and ``states`` of all
        outputs, by their places."""
        latest = {line["file"]: line for line in map(self.line, self._index.members(archive))}
        counts = [
            line
            for line in latest.values()
            if (line["archive"], line["etag"], line["model"]) == (archive, etag, self._model)
        ]
        own = {line["to"]: self.states(line["to"]) for line in latest.values() if "to" in line}
        return [] if self._forgot else counts, own

    def states(self, place: str) -> list[int]:
        """Hashes of what earlier runs wrote, or began to write, to a place, in their order."""
        return self._index.states(place)

    def wrote(self, place: str, state: str | None = None) -> bool:
        """Whether an earlier run wrote, or began to write, an output there.

        Args:
            state: of what stands there, which must be what was written: of a file the state of its
                ``Content``, of an object its ETag.
        """
        states = self.states(place)
        return bool(states) if state is None else hash_of(state) in states

    def wrote_last(self, place: str, content: Content) -> bool:
        """Whether nothing else was written to a place after this."""
        return self.states(place)[-1:] == [hash_of(content.state)]

    def claim(self, outputs: Sequence[tuple[str, Content]]) -> None:
        """Note, before they are written, which outputs at which places are dlkit's."""
        if outputs and self.broken is None:
            self._append(as_lines([{"claim": [(place, *what) for place, what in outputs]}]))

    def note_table(self, state: str) -> None:
        """Note, before it takes its place, what the table will be.

        Raises:
            MachineError: there is no room even for that: a next run would not know the table.
        """
        if state not in self.tables and not self._append(as_lines([{"table": state}])):
            what = f"{self.broken}, so the table stays as it was: no run would know it for dlkit's"
            raise MachineError(what, "Make room, and run it again")
        self.tables.add(state)

    def add(self, results: Sequence[Result], answers: Iterable[Mapping[str, Any]]) -> None:
        """Append a line for each result; ``answers`` are further fields of each line.

        Where that fails (a full disk), the manifest keeps its whole lines, ``broken`` says why,
        and the run goes on without it.
        """
        if self.broken is not None:
            return
        # Written by hand: json.dumps of a whole line takes three times as long, and a million
        # lines are a lot.
        middle = f'", "time": {time.time():.3f}, "model": "{self._model}", "bytes": '
        lines = []
        for result, answer in zip(results, answers, strict=True):
            status = "done" if result.error is None else "failed"
            more = "".join([f', "{name}": {_json(value)}' for name, value in answer.items()])
            if result.error is not None:
                more += f', "error": {_json(str(result.error))}'
            elif result.written is not None:
                size, found, modified, etag, place = result.written
                if place:
                    put = f'"put": {_json(etag)}, "to": {_json(place)}'
                else:
                    put = f'"sum": "{found}", "written_ns": {modified}'
                more += f', "written": {size}, {put}'
            path = result.source.path
            if result.source.stored is None:
                path = path if path.startswith(os.sep) else self._here + path
                state = (
                    f'"modified_ns": {result.modified}, "changed_ns": {result.changed}, '
                    f'"inode": {result.inode}'
                )
            else:
                state = f'"etag": {_json(result.etag)}'
                if archive := result.source.stored.archive:
                    state += f', "archive": {_json(archive)}'
            lines.append(
                checked(
                    f'"file": {_json(result.source.name)}, "status": "{status}{middle}'
                    f'{result.size}, {state}, "path": {_json(path)}{more}'
                )
            )
        self._append("".join(lines))

    def finish(self) -> None:
        """The run came to its end: nothing is added any more."""
        if not self._ended and self.broken is None:
            self._append(as_lines([{"end": round(time.time(), 3)}]))
            self._ended = True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._lines.close()

    def _begin(self, forget: bool) -> int:
        """How much of the file stays."""
        if not self._index.damaged:
            return self._index.size
        if not (self._index.lines or forget):
            raise InputError(
                f"{self._shown} is no manifest of dlkit's, or no line of it is whole",
                "Move it, choose another --out, or replace it with --overwrite",
            )
        return 0 if forget else self._index.size

    def _append(self, text: str) -> bool:
        """Whether all of it could be written."""
        data = text.encode()
        self._ended = False
        with self._writing:
            try:
                if self._file.write(data) != len(data):
                    raise OSError(0, "only a part could be written")
                self._whole += len(data)
            except OSError as error:
                self.broken = f"{self._shown} cannot be written ({error.strerror})"
                with suppress(OSError):
                    self._file.truncate(self._whole)
                return False
        return True


def _json(value: Any) -> str:
    """A string, a finite number or a list as JSON."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    return json.dumps(value) if isinstance(value, list) else repr(value)
