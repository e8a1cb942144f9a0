"""The manifest of a folder run: one JSON line a file, so that a second run goes on from there.

Each line says what was read (place, size and dates of a file, or the ETag of an object), what
computed (one hash of model and settings), and what came of it. Lines are appended as files are
finished, so a run that is killed loses at most the few files under way; a last line that is cut is
ignored. A line
``{"claim": [...]}`` comes before outputs are written: what stands there is then dlkit's own, which
a later run may replace.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlkit.atomic import check_file, lock
from dlkit.errors import DlkitError, InputError, MachineError, UsageError
from dlkit.runtime.folders.member import Member
from dlkit.runtime.folders.result import Result
from dlkit.storage import Stored

# Of a line that no journal wrote: json's, and those of values of another kind.
_STRANGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


class Journal:
    """The lines of earlier runs, by what was read; and this run's, on their way into the file.

    Args:
        path: the manifest.
        model: SHA-256 of what computes; other models' answers do not count.
        forget: nothing counts as done.
        read_only: look only; nothing is written.
        shown: what it is called in messages.

    Raises:
        UsageError: another run is writing it.
        InputError: it is damaged.
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
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._offsets: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._own: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._archives: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._inside: NDArray[np.uint64] = np.empty(0, np.uint64)
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
            self._whole = self._read(forget)
            self._file.truncate(self._whole)
            self._lines: IO[bytes] = path.open("rb") if path.exists() else io.BytesIO()
        except DlkitError:
            self._file.close()
            raise
        except OSError as error:
            self._file.close()
            raise MachineError(f"{self._shown} cannot be opened ({error.strerror})") from error
        self._forgot = forget
        if forget:
            self._keys = self._offsets = np.empty(0, np.uint64)

    def __len__(self) -> int:
        """How many files earlier runs finished."""
        return len(self._keys)

    def answer(
        self, path: str, name: str, status: os.stat_result | Stored | Member
    ) -> tuple[int, dict[str, Any]] | None:
        """An earlier answer for this very file and model: where its line is, and the line."""
        if isinstance(status, Stored | Member):
            key = np.uint64(_key(path, status.size, status.etag, self._model))
        else:
            path = path if path.startswith(os.sep) else self._here + path
            state = _state(status.st_mtime_ns, status.st_ctime_ns)
            key = np.uint64(_key(path, status.st_size, state, self._model))
        # the last one of equal keys: it was written last
        at = int(np.searchsorted(self._keys, key, side="right")) - 1
        if at < 0 or self._keys[at] != key:
            return None
        place = int(self._offsets[at])
        line = self.line(place)
        return (place, line) if line["file"] == name else None

    def line(self, place: int) -> dict[str, Any]:
        """The line there."""
        self._lines.seek(place)
        line: dict[str, Any] = json.loads(self._lines.readline())
        return line

    def inside(self, archive: str, etag: str) -> tuple[list[dict[str, Any]], list[str]]:
        """What earlier runs did of an archive: lines that count as it is now, and the names of all
        whose outputs are dlkit's."""
        key = np.uint64(_hash(archive))
        first = int(np.searchsorted(self._archives, key))
        last = int(np.searchsorted(self._archives, key, side="right"))
        latest = {line["file"]: line for line in map(self.line, self._inside[first:last].tolist())}
        counts = [
            line
            for line in latest.values()
            if (line["archive"], line["etag"], line["model"]) == (archive, etag, self._model)
        ]
        return [] if self._forgot else counts, list(latest)

    def wrote(self, name: str) -> bool:
        """Whether an earlier run wrote, or began to write, the output of a file."""
        key = np.uint64(_hash(name))
        at = int(np.searchsorted(self._own, key))
        return at < len(self._own) and bool(self._own[at] == key)

    def claim(self, names: Sequence[str]) -> None:
        """Note, before they are written, that the outputs of these files are dlkit's."""
        if names and self.broken is None:
            self._append(json.dumps({"claim": list(names)}) + "\n")

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
                size, etag = result.written
                more += f', "written": {size}' + (f', "put": {_json(etag)}' if etag else "")
            path = result.source.path
            if result.source.stored is None:
                path = path if path.startswith(os.sep) else self._here + path
                state = f'"modified_ns": {result.modified}, "changed_ns": {result.changed}'
            else:
                state = f'"etag": {_json(result.etag)}'
                if archive := result.source.stored.archive:
                    state += f', "archive": {_json(archive)}'
            lines.append(
                f'{{"file": {_json(result.source.name)}, "status": "{status}{middle}'
                f'{result.size}, {state}, "path": {_json(path)}{more}}}\n'
            )
        self._append("".join(lines))

    def finish(self) -> None:
        """The run came to its end: nothing is added any more."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._lines.close()

    def _append(self, text: str) -> None:
        data = text.encode()
        with self._writing:
            try:
                if self._file.write(data) != len(data):
                    raise OSError(0, "only a part could be written")
                self._whole += len(data)
            except OSError as error:
                self.broken = f"{self._shown} cannot be written ({error.strerror})"
                with suppress(OSError):
                    self._file.truncate(self._whole)

    def _read(self, forget: bool) -> int:
        """Index what is done; gives the length of the whole lines."""
        keys, offsets, own, whole = array("Q"), array("Q"), array("Q"), 0
        archives, inside = array("Q"), array("Q")
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return 0
        with file:
            for line in file:
                if not line.endswith(b"\n"):
                    break  # the run was killed while it wrote this one
                try:
                    data = json.loads(line)
                    if "claim" in data:
                        own.extend(_hash(name) for name in data["claim"])
                    elif data["status"] == "done":
                        own.append(_hash(data["file"]))
                        if "archive" in data:
                            archives.append(_hash(data["archive"]))
                            inside.append(whole)
                        if data["model"] == self._model:
                            state = (
                                data["etag"]
                                if "etag" in data
                                else _state(data["modified_ns"], data["changed_ns"])
                            )
                            keys.append(_key(data["path"], data["bytes"], state, self._model))
                            offsets.append(whole)
                except _STRANGE as error:
                    if forget:
                        return 0
                    raise InputError(
                        f"{self._shown} is damaged at byte {whole} ({type(error).__name__})",
                        "Delete it, or begin anew with --overwrite",
                    ) from error
                whole += len(line)
        order = np.argsort(np.frombuffer(keys, np.uint64), kind="stable")
        self._keys = np.frombuffer(keys, np.uint64)[order]
        self._offsets = np.frombuffer(offsets, np.uint64)[order]
        self._own = np.sort(np.frombuffer(own, np.uint64))  # unique would import numpy.ma
        order = np.argsort(np.frombuffer(archives, np.uint64), kind="stable")
        self._archives = np.frombuffer(archives, np.uint64)[order]
        self._inside = np.frombuffer(inside, np.uint64)[order]
        return whole


def _json(value: Any) -> str:
    """A string, a finite number or a list as JSON."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    return json.dumps(value) if isinstance(value, list) else repr(value)


def _state(modified: int, changed: int) -> str:
    """Of a file's content.

    Size and the date of modification can be another file's (archives are unpacked with fixed dates,
    and images of one format have one size), so the date of the last change of the inode counts,
    too: nobody can set that.
    """
    return f"{modified}\0{changed}"


def _key(path: str, size: int, state: str, model: str) -> int:
    """Of a file as it is now."""
    return _hash(f"{path}\0{size}\0{state}\0{model}")


def _hash(text: str) -> int:
    data = text.encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
