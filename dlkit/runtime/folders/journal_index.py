"""What a manifest says, as sorted hashes: a million lines take some tens of MB."""

from __future__ import annotations

import hashlib
import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    """

    def __init__(self, path: Path, model: str) -> None:
        self._model = model
        self.lines = self.damaged = self.size = 0
        self.tables: set[str] = set()
        self._done: tuple[array[int], array[int]] = array("Q"), array("Q")
        self._in: tuple[array[int], array[int]] = array("Q"), array("Q")
        own = self._claimed = array("Q")
        if path.exists():
            self._read(path)
        self.keys, self._places = _sorted(*self._done)
        self._archives, self._members = _sorted(*self._in)
        self._own = np.sort(np.frombuffer(own, np.uint64))  # unique would import numpy.ma
        del self._done, self._in, self._claimed

    def place(self, key: int) -> int | None:
        """Of the last line of a key."""
        at = int(np.searchsorted(self.keys, np.uint64(key), side="right")) - 1
        return int(self._places[at]) if at >= 0 and int(self.keys[at]) == key else None

    def owns(self, place: str) -> bool:
        """Whether an output there is dlkit's."""
        key = np.uint64(hash_of(place))
        at = int(np.searchsorted(self._own, key))
        return at < len(self._own) and bool(self._own[at] == key)

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
                    break  # the run was killed while it wrote this one
                found = plain(line)
                try:
                    if found is None:
                        raise ValueError
                    self._add(json.loads(found))
                    self.lines += 1
                except _STRANGE:
                    self.damaged += 1
                self.size += len(line)

    def _add(self, line: dict[str, Any]) -> None:
        if "claim" in line:
            self._claimed.extend(map(hash_of, line["claim"]))
        elif "table" in line:
            self.tables.add(line["table"])
        elif line["status"] == "done":
            if "to" in line:
                self._claimed.append(hash_of(line["to"]))
            if "archive" in line:
                self._note(self._in, hash_of(line["archive"]))
            if line["model"] == self._model:
                if (state := line.get("etag")) is None:
                    state = state_of(line["modified_ns"], line["changed_ns"], line["inode"])
                self._note(self._done, key_of(line["path"], line["bytes"], state, self._model))

    def _note(self, index: tuple[array[int], array[int]], key: int) -> None:
        index[0].append(key)
        index[1].append(self.size)


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
