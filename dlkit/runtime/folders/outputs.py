"""Outputs: where answers go, and whether they may."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dlkit.errors import DlkitError, UsageError
from dlkit.runtime.folders.result import Written
from dlkit.runtime.folders.sources import Source

if TYPE_CHECKING:
    from dlkit.runtime.folders.journal import Journal


class _There(NamedTuple):
    """What stands where an output goes.

    Attributes:
        place: behind all links, as claims have it.
        linked: the output's own name is a link.
        status: of the file behind it; None where there is none.
    """

    place: str
    linked: bool
    status: os.stat_result | None


class Outputs:
    """A file for every input, which replaces only what dlkit wrote.

    Args:
        folder: where they go.
        name: what the output of an input's name is called there.
        write: writes an answer to a path, whole or not at all.
        inputs: lists what is never replaced.
        seen_from: folder of the manifest, from which claims are seen, so that both may be moved
            together; None where it is elsewhere.
    """

    def __init__(
        self, folder: Path, name: Callable[[str], str], write: Callable[[Source, Any, Path], None],
        inputs: Callable[[], Iterable[Source]], seen_from: Path | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.name, self.write, self.inputs = folder, name, write, inputs
        self._seen_from = seen_from
        self._listing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, journal: Journal, overwrite: bool) -> None:
        """Begin a pass.

        Args:
            journal: knows what earlier runs wrote.
            overwrite: replace what others wrote, too; never an input.
        """
        self._journal, self._overwrite = journal, overwrite
        self._folders: dict[str, str] = {}
        self._inputs: set[tuple[int, int]] | None = None

    def claim(self, sources: Sequence[Source]) -> dict[str, DlkitError]:
        """Take possession of the outputs of some files; gives why not, by name, where not."""
        refused: dict[str, DlkitError] = {}
        free = []
        for source in sources:
            found = self._there(self.name(source.name))
            if (error := self._refusal(source, found)) is not None:
                refused[source.name] = error
            else:
                free.append(found.place)
        self._journal.claim(free)
        return refused

    def save(self, source: Source, answer: Any) -> Written:
        """Write an answer."""
        path = self.target(source)
        self.write(source, answer, path)
        return Written(path.stat().st_size)

    def target(self, source: Source) -> Path:
        """The output's path."""
        return self.folder / self.name(source.name)

    def there(self, source: Source, line: dict[str, Any]) -> bool:
        """Whether an output is still as the manifest's line has it."""
        place, _, status = self._there(self.name(source.name))
        same = status is not None and status.st_size == line.get("written")
        return same and self._journal.wrote(place)

    def ours(self, name: str) -> bool:
        """Whether an earlier run wrote a file of the folder."""
        return self._journal.wrote(self._there(name).place)

    def _there(self, name: str) -> _There:
        path = f"{self.folder}{os.sep}{name}"
        try:
            status = os.lstat(path)
        except OSError:
            return _There(self._place(name), False, None)
        if not stat.S_ISLNK(status.st_mode):
            return _There(self._place(name), False, status)
        real = os.path.realpath(path)
        place = self._below(os.path.dirname(real)) + os.path.basename(real)  # noqa: PTH119, PTH120
        try:
            return _There(place, True, os.stat(real))  # noqa: PTH116
        except OSError:
            return _There(place, True, None)

    def _place(self, name: str) -> str:
        """Of a name that is no link itself."""
        below, _, last = name.rpartition("/")
        if (folder := self._folders.get(below)) is None:
            folder = self._folders[below] = self._below(f"{self.folder}{os.sep}{below}")
        return folder + last

    def _below(self, folder: str) -> str:
        real = os.path.realpath(folder)
        if self._seen_from is not None:
            with suppress(ValueError):  # on another drive
                real = os.path.relpath(real, os.path.realpath(self._seen_from))
        return "" if real == "." else f"{real}{os.sep}"

    def _refusal(self, source: Source, found: _There) -> DlkitError | None:
        if found.status is None:
            return None
        path = self.target(source)
        try:
            if source.stored is None and os.path.samestat(found.status, os.stat(source.path)):  # noqa: PTH116
                return UsageError(f"{path} is the input itself", "Choose another --out")
        except OSError:
            pass
        owned = self._journal.wrote(found.place)
        if (found.linked or not owned) and _identity(found.status) in self._all_inputs():
            return UsageError(
                f"{path} is another input, or leads to one: it would be replaced",
                "Choose another --out",
            )
        if owned or self._overwrite:
            return None
        return UsageError(
            f"{path} is there already, and dlkit did not write it",
            "Choose another --out, or replace it with --overwrite",
        )

    def _all_inputs(self) -> set[tuple[int, int]]:
        """Identities of all files that are inputs: listed when something stands in the way."""
        with self._listing:  # of several workers one lists
            if self._inputs is None:
                found = set()
                for source in self.inputs():
                    if source.stored is None:
                        try:
                            found.add(_identity(os.stat(source.path)))  # noqa: PTH116
                        except OSError:
                            continue
                self._inputs = found
            return self._inputs


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
