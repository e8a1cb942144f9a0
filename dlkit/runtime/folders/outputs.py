"""Outputs: where answers go, and whether they may."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dlkit.atomic import write_new
from dlkit.errors import DlkitError, MachineError, UsageError
from dlkit.runtime.folders.content import Content
from dlkit.runtime.folders.result import Result, Written
from dlkit.runtime.folders.sources import Source

if TYPE_CHECKING:
    from dlkit.runtime.folders.journal import Journal


Encode = Callable[[Source, Any, str], bytes]


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
    """A file for every input, which replaces only what dlkit wrote, as it wrote it.

    Args:
        folder: where they go.
        name: what the output of an input's name is called there.
        encode: gives an answer as the bytes of a file of a name.
        inputs: lists what is never replaced.
        seen_from: folder of the manifest, from which claims are seen, so that both may be moved
            together; None where it is elsewhere.
    """

    def __init__(
        self, folder: Path, name: Callable[[str], str], encode: Encode,
        inputs: Callable[[], Iterable[Source]], seen_from: Path | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.name, self.encode, self.inputs = folder, name, encode, inputs
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

    def save(self, results: Sequence[Result]) -> None:
        """Write the answers of some files.

        What they will be is noted before: a run that is killed leaves nothing that no line knows.
        """
        ready: list[tuple[Result, Path, bytes, Content]] = []
        claims: list[tuple[str, Content]] = []
        for result in results:
            name = self.name(result.source.name)
            path = self.folder / name
            try:
                data = self.encode(result.source, result.answer, str(path))
                found = self._there(name)
                self._check(result.source, path, found, data)
            except DlkitError as error:
                result.error = error
                continue
            content = Content.of(data)
            ready.append((result, path, data, content))
            claims.append((found.place, content))
        self._journal.claim(claims)
        for result, path, data, content in ready:
            try:
                write_new(path, data)
                result.written = Written(*content, path.stat().st_mtime_ns)
            except DlkitError as error:
                result.error = error
            except OSError as error:
                result.error = MachineError(f"{path}: is gone ({error.strerror})", "Run it again")

    def target(self, source: Source) -> Path:
        """The output's path."""
        return self.folder / self.name(source.name)

    def there(self, source: Source, line: dict[str, Any]) -> bool:
        """Whether an output is still as the manifest's line has it."""
        place, _, status = self._there(self.name(source.name))
        if status is None or status.st_size != line.get("written"):
            return False
        content = Content(status.st_size, line.get("sum", ""))
        if not self._journal.wrote_last(place, content):
            return False  # what another one wrote since may have its size, and its date
        if status.st_mtime_ns == line.get("written_ns"):
            return True
        return _content(self.target(source)) == content  # a copy of the folder has other dates

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

    def _check(self, source: Source, path: Path, found: _There, data: bytes) -> None:
        """Refuse to replace an input, and what others wrote or changed."""
        if found.status is None:
            return
        with suppress(OSError):
            if source.stored is None and os.path.samestat(found.status, os.stat(source.path)):  # noqa: PTH116
                raise UsageError(f"{path} is the input itself", "Choose another --out")
        owned = self._journal.wrote(found.place)
        if (found.linked or not owned) and _identity(found.status) in self._all_inputs():
            raise UsageError(
                f"{path} is another input, or leads to one: it would be replaced",
                "Choose another --out",
            )
        if not self._overwrite and not self._may_go(path, found.place, owned, data):
            raise others(str(path), owned)

    def _may_go(self, path: Path, place: str, owned: bool, data: bytes) -> bool:
        """Whether nothing of others is lost with what stands where ``data`` goes.

        After a power cut files are there that are cut, or whose lines are lost: the beginning of
        what goes there anyway, or all of it.
        """
        there = _content(path) if owned or self._journal.cut else None
        if there is None:
            return False
        whole = self._journal.wrote(place, there.state)
        return whole or there == Content.of(memoryview(data)[: there.size])

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


def others(path: str, owned: bool) -> UsageError:
    """Why a file is not replaced.

    Args:
        owned: dlkit wrote it, and others changed it since.
    """
    why = (
        "was changed since dlkit wrote it"
        if owned
        else "is there already, and this manifest does not say that dlkit wrote it"
    )
    return UsageError(
        f"{path} {why}", "Choose another folder, move it, or replace it with --overwrite"
    )


def _content(path: Path) -> Content | None:
    """What a file holds; None where there is none that can be read."""
    try:
        return Content.of_file(path) if path.is_file() else None
    except OSError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
