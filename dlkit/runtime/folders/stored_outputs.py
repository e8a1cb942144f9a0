"""Outputs as objects: put whole, and only in the place of what dlkit put."""

from __future__ import annotations

import itertools
import os
import posixpath
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import DlkitError, MachineError, UsageError
from dlkit.runtime.folders.result import Written
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
        write: writes an answer to a path, whole or not at all.
        inputs: never replaced.
        seen_from: where the manifest is, from which the lines' places are seen, so that both may be
            moved together; None where it is elsewhere.
    """

    def __init__(
        self, out: Address, name: Callable[[str], str], write: Callable[[Source, Any, Path], None],
        inputs: Inputs, seen_from: Address | None = None,
    ) -> None:  # fmt: skip
        self.out, self.name, self.write, self.inputs = out, name, write, inputs
        self._below = f"{out}/"
        if seen_from is not None and seen_from.root == out.root:
            way = posixpath.relpath(f"/{out.key}", f"/{seen_from.key}")
            self._below = "" if way == "." else f"{way}/"
        self._store = open_store(out)
        self._count = itertools.count()
        self._found: NDArray[np.int64] | None = None

    def __enter__(self) -> Self:
        self._scratch = tempfile.TemporaryDirectory(prefix="dlkit-")
        self._pool = ThreadPoolExecutor(CALLERS, "put")
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._scratch.cleanup()

    def begin(self, journal: Journal, overwrite: bool) -> None:
        """Begin a pass.

        Args:
            journal: knows what earlier runs put.
            overwrite: replace what others put, too; never an input.
        """
        self._journal, self._overwrite = journal, overwrite

    def claim(self, sources: Sequence[Source]) -> dict[str, DlkitError]:
        """Refuse to replace an input; what else stands in the way is seen when it is put."""
        refused: dict[str, DlkitError] = {}
        for source in sources:
            target = self.target(source)
            if str(target) == source.path:
                why = f"{target} is the input itself"
            elif self.inputs.holds(target):
                why = f"{target} is where another input is, or would be"
            else:
                continue
            refused[source.name] = UsageError(why, "Choose another --out")
        return refused

    def target(self, source: Source) -> Address:
        """The output's address."""
        return self.out.below(self.name(source.name))

    def place(self, source: Source) -> str:
        """Of the output, as the manifest's line has it."""
        return self._below + self.name(source.name)

    def ours(self, name: str) -> bool:
        """Whether an earlier run put what is there under a name below ``out``."""
        return self._journal.wrote(self._below + name)

    def save(self, source: Source, answer: Any) -> Future[Written]:
        """Encode an answer, and begin to put it."""
        target = self.target(source)
        folder = Path(self._scratch.name, str(next(self._count)))
        path = folder / target.name
        try:
            self.write(source, answer, path)
            data = path.read_bytes()
        except DlkitError as error:
            error.what = error.what.replace(str(path), str(target))
            raise
        except OSError as error:
            raise MachineError(f"{target}: cannot be written ({error.strerror})") from error
        finally:
            path.unlink(missing_ok=True)
            if folder.exists():
                folder.rmdir()
        return self._pool.submit(self._put, self.place(source), target, data)

    def there(self, source: Source, line: dict[str, Any]) -> bool:
        """Whether an output is still as the manifest's line has it."""
        if self._found is None:  # one listing in the place of a request for each
            marks = [_mark(*entry) for entry in self._store.list(self.out.key)]
            self._found = np.sort(np.array(marks, np.int64))
        key = self.target(source).key
        mark = _mark(key, line.get("written", -1), line.get("put", ""))
        at = int(np.searchsorted(self._found, mark))
        return at < len(self._found) and bool(self._found[at] == mark)

    def _put(self, place: str, target: Address, data: bytes) -> Written:
        return Written(len(data), self._put_data(place, target, data), place)

    def _put_data(self, place: str, target: Address, data: bytes) -> str:
        """Gives the ETag."""
        if self._overwrite or self._journal.wrote(place):
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
            raise UsageError(
                f"{target} is there already, and dlkit did not write it",
                "Choose another --out, or replace it with --overwrite",
            )
        raise MachineError(f"{target}: cannot be put: others put and remove it at the same time")


def _mark(key: str, size: int, etag: str) -> int:
    return hash((os.fsencode(key), size, etag))
