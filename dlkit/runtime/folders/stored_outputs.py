"""Outputs as objects: put whole, and only in the place of what dlkit put."""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError, MachineError, UsageError
from dlkit.runtime.folders.outputs import Encode, others
from dlkit.runtime.folders.result import Result, Written
from dlkit.runtime.folders.sources import Inputs, Source
from dlkit.storage import Address, ExistsError, MissingError, open_store
from dlkit.storage.store import CALLERS

if TYPE_CHECKING:
    from dlkit.runtime.folders.journal import Journal

_TRIES = 5  # of an object that is there, and then is not


class StoredOutputs:
    """An object for every input; see ``dlkit.runtime.folders.outputs.Outputs``.

    Args:
        out: below which the outputs are.
        name: what the output of an input's name is called there.
        encode: gives an answer as the bytes of a file of a name.
        inputs: never replaced.
        seen_from: where the manifest is, from which the lines' places are seen, so that both may be
            moved together; None where it is elsewhere.
    """

    def __init__(
        self, out: Address, name: Callable[[str], str], encode: Encode, inputs: Inputs,
        seen_from: Address | None = None,
    ) -> None:  # fmt: skip
        self.out, self.name, self.encode, self.inputs = out, name, encode, inputs
        self._below = f"{out}/"
        if seen_from is not None and seen_from.root == out.root:
            way = posixpath.relpath(f"/{out.key}", f"/{seen_from.key}")
            self._below = "" if way == "." else f"{way}/"
        self._store = open_store(out)
        self._found: NDArray[np.int64] | None = None

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(CALLERS, "put")
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, journal: Journal, overwrite: bool) -> None:
        """Begin a pass.

        Args:
            journal: knows what earlier runs put.
            overwrite: replace what others put, too; never an input.
        """
        self._journal, self._overwrite = journal, overwrite

    def target(self, source: Source) -> Address:
        """The output's address."""
        return self.out.below(self.name(source.name))

    def place(self, source: Source) -> str:
        """Of the output, as the manifest's line has it."""
        return self._below + self.name(source.name)

    def ours(self, name: str) -> bool:
        """Whether an earlier run put what is there under a name below ``out``."""
        return self._journal.wrote(self._below + name)

    def save(self, results: Sequence[Result]) -> None:
        """Encode the answers of some files, and begin to put them."""
        for result in results:
            source = result.source
            target = self.target(source)
            try:
                self._check(source, target)
                data = self.encode(source, result.answer, str(target))
            except DlkitError as error:
                result.error = error
                continue
            result.putting = self._pool.submit(self._put, self.place(source), target, data)

    def there(self, source: Source, line: dict[str, Any]) -> bool:
        """Whether an output is still as the manifest's line has it."""
        if self._found is None:  # one listing in the place of a request for each
            marks = [_mark(*entry) for entry in self._store.list(self.out.key)]
            self._found = np.sort(np.array(marks, np.int64))
        key = self.target(source).key
        mark = _mark(key, line.get("written", -1), line.get("put", ""))
        at = int(np.searchsorted(self._found, mark))
        return at < len(self._found) and bool(self._found[at] == mark)

    def _check(self, source: Source, target: Address) -> None:
        """Refuse to replace an input; what else stands in the way is seen when it is put."""
        if str(target) == source.path:
            raise UsageError(f"{target} is the input itself", "Choose another --out")
        if self.inputs.holds(target):
            raise UsageError(
                f"{target} is where another input is, or would be", "Choose another --out"
            )

    def _put(self, place: str, target: Address, data: bytes) -> Written:
        return Written(len(data), etag=self._put_data(place, target, data), place=place)

    def _put_data(self, place: str, target: Address, data: bytes) -> str:
        """Gives the ETag."""
        if self._overwrite or self._is_as_put(place, target):
            return self._store.put(target.key, data)
        for attempt in range(_TRIES):
            try:
                return self._store.put(target.key, data, create=True)
            except ExistsError:
                pass
            try:
                there, etag = self._store.get(target.key)
                if there == data:
                    return etag
                if self._store.marked(target.key):  # of a run that was killed before it said so
                    return self._store.put(target.key, data)
            except MissingError:  # two puts at once were both refused (S3's 409), or it is gone
                time.sleep(0.1 * 2**attempt)
                continue
            raise others(str(target), self._journal.wrote(place))
        raise MachineError(f"{target}: cannot be put: others put and remove it at the same time")

    def _is_as_put(self, place: str, target: Address) -> bool:
        """Whether an earlier run put what is there now."""
        if self._journal.wrote(place):
            with suppress(MissingError):
                return self._journal.wrote(place, self._store.head(target.key).etag)
        return False


def _mark(key: str, size: int, etag: str) -> int:
    return hash((os.fsencode(key), size, etag))
