"""The manifest of a folder run: one JSON line a file, so that a second run goes on from there.

Each line says what was read (name, size, date, model) and what came of it. Lines are appended as
files are finished, so a run that is killed loses at most the few files under way; a last line that
is cut is ignored.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError
from dlkit.runtime.pipeline import Result


class Journal:
    """The lines of earlier runs, by what was read; and this run's, on their way into the file.

    Args:
        path: the manifest.
        model: SHA-256 of the file that computes; other models' answers do not count.
        forget: begin anew.
        read_only: look only; nothing is written.

    Raises:
        InputError: it cannot be read or written.
    """

    def __init__(
        self, path: Path, model: str, forget: bool = False, read_only: bool = False
    ) -> None:
        self.path = path
        self._model = model[:16]
        self.broken: str | None = None
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._offsets: NDArray[np.uint64] = np.empty(0, np.uint64)
        try:
            self._whole = 0 if forget else self._read()
            if read_only:
                self._file: IO[bytes] = io.BytesIO()
            else:
                self._file = path.open("ab", buffering=0)
                self._file.truncate(self._whole)
            self._lines: IO[bytes] = path.open("rb") if path.exists() else io.BytesIO()
        except OSError as error:
            raise InputError(f"{path} cannot be opened ({error.strerror})") from error

    def __len__(self) -> int:
        """How many files earlier runs finished."""
        return len(self._keys)

    def answer(self, name: str, size: int, modified: int) -> dict[str, Any] | None:
        """An earlier answer for this very file and model: its line, or None."""
        key = np.uint64(_key(name, size, modified, self._model))
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        self._lines.seek(int(self._offsets[at]))
        line: dict[str, Any] = json.loads(self._lines.readline())
        return line if line["file"] == name else None

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
            lines.append(
                f'{{"file": {_json(result.source.name)}, "status": "{status}{middle}'
                f'{result.size}, "modified_ns": {result.modified}{more}}}\n'
            )
        try:
            self._file.write("".join(lines).encode())
            self._whole = self._file.tell()
        except OSError as error:
            self.broken = f"{self.path} cannot be written ({error.strerror})"
            with suppress(OSError):
                self._file.truncate(self._whole)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._lines.close()

    def _read(self) -> int:
        """Index what is done; gives the length of the whole lines."""
        keys, offsets, whole = array("Q"), array("Q"), 0
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
                    if data["status"] == "done" and data["model"] == self._model:
                        read = (data["file"], data["bytes"], data["modified_ns"], data["model"])
                        keys.append(_key(*read))
                        offsets.append(whole)
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(
                        f"{self.path} is damaged at byte {whole} ({type(error).__name__}): "
                        "delete it, or begin anew with --overwrite"
                    ) from error
                whole += len(line)
        order = np.argsort(np.frombuffer(keys, np.uint64), kind="stable")
        self._keys = np.frombuffer(keys, np.uint64)[order]
        self._offsets = np.frombuffer(offsets, np.uint64)[order]
        return whole


def _json(value: Any) -> str:
    """A string, a finite number or a list as JSON."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    return json.dumps(value) if isinstance(value, list) else repr(value)


def _key(name: str, size: int, modified: int, model: str) -> int:
    text = f"{name}\0{size}\0{modified}\0{model}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
