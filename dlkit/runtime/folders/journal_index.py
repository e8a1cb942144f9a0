"""What a manifest says, as sorted hashes: a million lines take some tens of MB."""

from __future__ import annotations

import hashlib
import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.runtime.folders.content import Content
from dlkit.runtime.folders.lines import is_cut, plain

# Of a line that no journal wrote, though its sum fits: json's, and those of values of another kind.
_STRANGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)

Hashes = NDArray[np.uint64]


class Index:
    """The lines of a manifest, by what was read, what was written, and in which archive.

    Args:
        model: whose answers count.

    Attributes:
        lines: that count.
        damaged: lines that do not.
        size: bytes of all whole lines.
        tables: what the table was, and may be.
        ended: the last line says that the run came to its end.
    """

    def __init__(self, path: Path, model: str) -> None:
        self._model = model
        self.lines = self.damaged = self.size = 0
        self.tables: set[str] = set()
        self.ended = False
        self._done: tuple[array[int], array[int]] = array("Q"), array("Q")
        self._in: tuple[array[int], array[int]] = array("Q"), array("Q")
        self._claimed: tuple[array[int], array[int]] = array("Q"), array("Q")
        if path.exists():
            self._read(path)
        self.keys, self._places = _sorted(*self._done)
        self._archives, self._members = _sorted(*self._in)
        self._own, self._states = _sorted(*self._claimed)
        del self._done, self._in, self._claimed

    def place(self, key: int) -> int | None:
        """Of the last line of a key."""
        at = int(np.searchsorted(self.keys, np.uint64(key), side="right")) - 1
        return int(self._places[at]) if at >= 0 and int(self.keys[at]) == key else None

    def states(self, place: str) -> list[int]:
        """Hashes of what was, or was to be, written to a place; the last one is the latest."""
        key = np.uint64(hash_of(place))
        first = int(np.searchsorted(self._own, key))
        if first == len(self._own) or self._own[first] != key:
            return []
        last = int(np.searchsorted(self._own, key, side="right"))
        return [int(state) for state in self._states[first:last]]

    def members(self, archive: str) -> list[int]:
        """Places of the lines of what is in an archive."""
        key = np.uint64(hash_of(archive))
        first = int(np.searchsorted(self._archives, key))
        last = int(np.searchsorted(self._archives, key, side="right"))
        return [int(place) for place in self._members[first:last]]

    def _read(self, path: Path) -> None:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") and (self.lines or is_cut(line)):
                    self.ended = False
                    break  # the run was killed while it wrote this one
                found = plain(line)
                try:
                    if found is None:
                        raise ValueError
                    self._add(json.loads(found))
                    self.lines += 1
                except _STRANGE:
                    self.damaged += 1
                    self.ended = False
                self.size += len(line)

    def _add(self, line: dict[str, Any]) -> None:
        self.ended = "end" in line
        if "claim" in line:
            for place, size, found in line["claim"]:
                self._note(self._claimed, hash_of(place), hash_of(Content(size, found).state))
        elif "end" in line:
            pass
        elif "table" in line:
            self.tables.add(line["table"])
        elif line["status"] == "done":
            if "to" in line:
                self._note(self._claimed, hash_of(line["to"]), hash_of(line["put"]))
            if "archive" in line:
                self._note(self._in, hash_of(line["archive"]), self.size)
            if line["model"] == self._model:
                if (state := line.get("etag")) is None:
                    state = state_of(line["modified_ns"], line["changed_ns"], line["inode"])
                key = key_of(line["path"], line["bytes"], state, self._model)
                self._note(self._done, key, self.size)

    def _note(self, index: tuple[array[int], array[int]], key: int, value: int) -> None:
        index[0].append(key)
        index[1].append(value)


def _sorted(keys: array[int], values: array[int]) -> tuple[Hashes, Hashes]:
    """Both in the order of the keys."""
    order = np.argsort(np.frombuffer(keys, np.uint64), kind="stable")
    return np.frombuffer(keys, np.uint64)[order], np.frombuffer(values, np.uint64)[order]


def state_of(modified: int, changed: int, inode: int) -> str:
    """Of a file's content.

    Size and the date of modification can be another file's (archives are unpacked with fixed dates,
    and images of one format have one size), so the date of the last change of the inode counts,
    too: nobody can set that. Files that were unpacked in one tick of the clock share that as well,
    and keep it when their folders are renamed: so the inode counts.
    """
    return f"{modified}\0{changed}\0{inode}"


def key_of(path: str, size: int, state: str, model: str) -> int:
    """Of a file as it is now."""
    return hash_of(f"{path}\0{size}\0{state}\0{model}")


def hash_of(text: str) -> int:
    """Eight bytes."""
    data = text.encode(errors="surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
