"""The manifest of a run into object storage, where nothing can be appended.

Lines are collected in a file here, as any journal's, and put as parts beside the manifest while the
run goes on. A run that begins takes what manifest and parts say; one that ends puts the manifest
anew, and removes the parts that it took in. Two runs at once each have parts of their own, so
neither loses anything.
"""

from __future__ import annotations

import io
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dlkit.errors import DlkitError
from dlkit.runtime.folders.journal import Journal
from dlkit.runtime.folders.lines import as_lines
from dlkit.storage import Address, MissingError, open_store

# A part after half a second, then after a tenth of the time that the run took so far, at most ten
# seconds: a run that is killed loses that, and a long one has some hundred parts.
_FIRST, _SHARE, _LAST = 0.5, 0.1, 10.0


def state_of(manifest: Address, kind: str) -> Address:
    """Where the ``parts`` or ``shards`` of a manifest are while a run goes on."""
    return manifest.with_name(f"{manifest.name.removesuffix('.jsonl')}.{kind}")


class StoredJournal(Journal):
    """A journal whose lines go into objects.

    Args:
        place: the manifest's address.

    Raises:
        InputError: what is there is no manifest.
        MachineError: the store cannot be read.
    """

    def __init__(
        self, place: Address, model: str, forget: bool = False, read_only: bool = False
    ) -> None:
        self.place, self._parts = place, state_of(place, "parts")
        self._store = open_store(place)
        self._scratch = tempfile.TemporaryDirectory(prefix="dlkit-")
        self._run = secrets.token_hex(8)
        self._number = 0
        self._pending = io.BytesIO()
        self._begun = self._flushed = time.monotonic()
        self._taken: list[str] = []
        path = Path(self._scratch.name, "manifest.jsonl")
        try:
            self._take(path)
            super().__init__(path, model, forget, read_only, str(place))
        except BaseException:
            self._scratch.cleanup()
            raise

    def finish(self) -> None:
        """Put the manifest; the parts are in it, if nothing was too much for the disk here."""
        self.flush()
        if self.broken is not None:
            return
        self._store.put(self.place.key, self.path)
        self._forget_parts()

    def note_table(self, state: str) -> None:
        """Note what the table will be, for all to see."""
        super().note_table(state)
        self.flush()

    def take(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Add lines to the manifest which are elsewhere, too, until it is put."""
        super()._append(as_lines(lines))

    def flush(self) -> None:
        """Put what was not put yet as a part.

        Raises:
            MachineError: the store refuses; nobody would know what was done from then on.
        """
        if data := self._pending.getvalue():
            key = self._parts.below(f"{self._run}-{self._number:06d}.jsonl").key
            self._store.put(key, data)
            self._taken.append(key)
            self._number += 1
            self._pending = io.BytesIO()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Put what is left, as far as that can be; a next run goes on from there."""
        with suppress(DlkitError):
            self.flush()
        super().close()
        self._scratch.cleanup()

    def _forget_parts(self) -> None:
        self._store.delete(self._taken)
        self._taken, self._pending = [], io.BytesIO()

    def _append(self, text: str) -> bool:
        whole = super()._append(text)
        self._pending.write(text.encode())
        now = time.monotonic()
        if now - self._flushed > min(max(_FIRST, _SHARE * (now - self._begun)), _LAST):
            self.flush()
        return whole

    def _take(self, path: Path) -> None:
        """Begin the file with the manifest and the parts that are there."""
        self._taken = [entry.key for entry in self._store.list(self._parts.key)]
        with path.open("wb") as file:
            for key in (self.place.key, *self._taken):
                with suppress(MissingError):  # not there yet, or another run has just taken it in
                    file.write(self._store.get(key)[0])
