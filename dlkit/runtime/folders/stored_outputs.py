"""Outputs as objects: put whole, and only in the place of what dlkit put."""

from __future__ import annotations

import itertools
import os
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
from dlkit.runtime.folders.sources import Source
from dlkit.storage import Address, ExistsError, MissingError, open_store
from dlkit.storage.store import CALLERS

if TYPE_CHECKING:
    from dlkit.runtime.folders.journal import Journal

_TRIES = 5  # of an object that is there, and then is not


class StoredOutputs:
    """An object for every input; see ``dlkit.runtime.folders.outputs.Outputs``.

    Args:
        out: below which the outputs are.
        target: the output's address.
        write: writes an answer to a path, whole or not at all.
    """

    def __init__(
        self, out: Address, target: Callable[[Source], Address],
        write: Callable[[Source, Any, Path], None],
    ) -> None:  # fmt: skip
        self.out, self.target, self.write = out, target, write
        self.journal: Journal | None = None
        self.overwrite = False
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

    def claim(self, sources: Sequence[Source]) -> dict[str, DlkitError]:
        """Refuse to replace an input; what else stands in the way is seen when it is put."""
        return {
            source.name: UsageError(
                f"{self.target(source)} is the input itself", "Choose another --out"
            )
            for source in sources
            if str(self.target(source)) == source.path
        }

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
        return self._pool.submit(self._put, source.name, target, data)

    def there(self, source: Source, line: dict[str, Any]) -> bool:
        """Whether an output is still as the manifest's line has it."""
        if self._found is None:  # one listing in the place of a request for each
            marks = [_mark(*entry) for entry in self._store.list(self.out.key)]
            self._found = np.sort(np.array(marks, np.int64))
        key = self.target(source).key
        mark = _mark(key, line.get("written", -1), line.get("put", ""))
        at = int(np.searchsorted(self._found, mark))
        return at < len(self._found) and bool(self._found[at] == mark)

    def _put(self, name: str, target: Address, data: bytes) -> Written:
        if self.overwrite or (self.journal is not None and self.journal.wrote(name)):
            return Written(len(data), self._store.put(target.key, data))
        for attempt in range(_TRIES):
            try:
                return Written(len(data), self._store.put(target.key, data, create=True))
            except ExistsError:
                pass
            try:
                there, etag = self._store.get(target.key)
                if there == data:
                    return Written(len(data), etag)
                if self._store.marked(target.key):  # of a run that was killed before it said so
                    return Written(len(data), self._store.put(target.key, data))
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
