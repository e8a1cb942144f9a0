"""Which files are meant by folders and files on a command line, and what is left out of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dlkit import images
from dlkit.errors import UsageError
from dlkit.runtime.folders.archives import is_archive, members
from dlkit.runtime.folders.member import Member
from dlkit.runtime.folders.unread import is_unread
from dlkit.storage import Address, MissingError, Place, Stored, open_store

_NAMED = 3  # files that a summary names of each kind


class Source(NamedTuple):
    """One input file.

    Attributes:
        path: where it is.
        name: its path below the output folder, subfolders mirrored, with forward slashes.
        stored: the object or the part of an archive that it is; None for a file.
    """

    path: str
    name: str
    stored: Stored | Member | None = None

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            InputError, MachineError: it cannot be read.
        """
        return images.read_bytes(self.path)[0] if self.stored is None else self.stored.read()[0]


@dataclass
class LeftOut:
    """What a listing passed over, by reason: how many, and the first ones."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """One more, or several of one name."""
        self.counts[reason] += count
        known = self.examples.setdefault(reason, [])
        if len(known) < _NAMED:
            known.append(name)

    def merge(self, other: LeftOut) -> None:
        """What another listing passed over, too."""
        self.counts += other.counts
        for reason, names in other.examples.items():
            known = self.examples.setdefault(reason, [])
            known += names[: _NAMED - len(known)]

    def lines(self) -> list[str]:
        """For people: a line for each reason."""
        found = []
        for reason, count in sorted(self.counts.items()):
            names = list(self.examples.get(reason, ()))
            if names and count > len(names):
                names.append("...")
            found.append(f"left out {count} {reason}" + (": " if names else "") + ", ".join(names))
        return found


def ends_in(name: str, suffixes: frozenset[str]) -> bool:
    """Whether a file's name has one of these endings, in capitals or not."""
    return name[name.rfind(".") :].lower() in suffixes


def check(inputs: Sequence[Place]) -> None:
    """Refuse inputs that are missing or that would be written to one place.

    Raises:
        UsageError: nothing given, one is missing, or two have the same name.
    """
    if not inputs:
        raise UsageError("there is no input", "Give a folder or files")
    for path in inputs:
        # a name that is too long is none, too
        if isinstance(path, Path) and not os.path.exists(path):  # noqa: PTH110
            raise UsageError(f"there is no {path}", "Give a folder or files that exist")
    names = [_name(path) for path in inputs]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"two inputs are named {double[0]}, so one result would replace the other",
            "Run them one after the other with different --out",
        )


@dataclass(frozen=True)
class Inputs:
    """What a command is given.

    Attributes:
        paths: folders, files and addresses.
        wanted: which names inside folders are taken.
        ignore: a folder that is left out, where outputs go.
        follow: go into folders that are links, each once.
        named: which are taken of files that were named themselves, and of folders that cannot be
            listed, which are failures; all of them.
        archives: whether tar and Parquet files are taken as folders; what is ``wanted`` is then
            looked for in them, too.
        elsewhere: names of files that the command reads in another way: they are not left out.
    """

    paths: Sequence[Place]
    wanted: Callable[[str], bool]
    ignore: Place | None = None
    follow: bool = False
    named: Callable[[Source], bool] = lambda source: True
    archives: bool = False
    elsewhere: Callable[[str], bool] = lambda name: False

    def __call__(self, left_out: LeftOut | None = None) -> Iterator[Source]:
        """Files, and those in archives, in the order in which the folders list them, one at a time;
        see ``listed`` and ``inside``."""
        left_out = LeftOut() if left_out is None else left_out
        for source in self.listed(left_out):
            if self.is_archive(source):
                yield from self.inside(source, left_out)
            else:
                yield source

    def inside(self, source: Source, left_out: LeftOut | None = None) -> Iterator[Source]:
        """What is in an archive, by its names below the archive's; other files as they are.

        An archive that cannot be read to its end is an input of its own name, which fails.
        """
        if not self.is_archive(source):
            yield source
            return
        left_out = LeftOut() if left_out is None else left_out
        stored = source.stored if isinstance(source.stored, Stored) else None
        path = source.path if stored is not None else os.path.abspath(source.path)  # noqa: PTH100
        for name, member in members(
            path,
            stored,
            self.wanted,
            self._unread,
            lambda reason, name: left_out.add(reason, f"{source.name}/{name}"),
        ):
            below = f"/{name}" if name else ""
            yield Source(path + below, source.name + below, member)

    def is_archive(self, source: Source) -> bool:
        """Whether a file is taken as a folder."""
        return self.archives and is_archive(source.name)

    def takes(self, name: str) -> bool:
        """Whether a file of this name in a folder is an input."""
        return self.wanted(name) or (self.archives and is_archive(name))

    def holds(self, target: Address) -> bool:
        """Whether an object is an input, or would be one if it was put."""
        return any(
            isinstance(one, Address)
            and one.holds(target)
            and (one == target or self.takes(target.name))
            and not (isinstance(self.ignore, Address) and self.ignore.holds(target)
                     and one.holds(self.ignore) and one != self.ignore)
            for one in self.paths
        )  # fmt: skip

    def _unread(self, name: str) -> bool:
        return is_unread(name, self.wanted) or is_archive(name)

    def listed(self, left_out: LeftOut | None = None) -> Iterator[Source]:
        """Files, archives not opened, in the order in which the folders list them.

        A single folder's content keeps its path below the folder; with several inputs each
        folder's name comes first. A file that was named itself is always tried.

        Args:
            left_out: takes what is passed over: hidden files, links to folders, files that look
                like images and are of a kind that is not read. Other files are none of our
                business.

        Raises:
            UsageError: a folder that was named cannot be listed.
        """
        left_out = LeftOut() if left_out is None else left_out
        for path in self.paths:
            below = f"{_name(path)}/" if len(self.paths) > 1 else ""
            if isinstance(path, Address):
                yield from self._listed(path, below, left_out)
            elif path.is_dir():
                yield from self._walk(str(path), below, left_out)
            elif self.named(source := Source(str(path), path.name)):
                yield source

    def _listed(self, address: Address, below: str, left_out: LeftOut) -> Iterator[Source]:
        """Objects below an address, or the one that it is; keys are names as paths are."""
        store, found, ignored = open_store(address), False, None
        if (
            isinstance(self.ignore, Address)
            and address.holds(self.ignore)
            and self.ignore != address
        ):
            ignored = self.ignore
        for entry in store.list(address.key):
            found = True
            short = entry.key[len(address.key) :].lstrip("/")
            if ignored is not None and ignored.holds(Address(address.root, entry.key)):
                continue
            source = Source(f"{address.root}/{entry.key}", below + short, Stored(store, entry))
            if f"/{short}".find("/.") >= 0:
                if self.takes(short):
                    left_out.add("hidden files", source.name)
            elif self.takes(short):
                yield source
            elif self._unread(short) and not self.elsewhere(short):
                left_out.add("files of kinds that are not read", source.name)
        if not found:
            try:
                entry = store.head(address.key)
            except MissingError:
                raise UsageError(f"there is nothing at {address}") from None
            one = Source(str(address), address.name, Stored(store, entry))
            if self.named(one):
                yield one

    def _walk(self, folder: str, below: str, left_out: LeftOut) -> Iterator[Source]:
        ignored = _identity(str(self.ignore)) if isinstance(self.ignore, Path) else None
        seen = {_identity(folder)}
        # Streamed, not sorted: a folder may hold a million names. A stack and no recursion: folders
        # may be nested deeper than Python calls.
        stack = [(folder, below)]
        while stack:
            folder, below = stack.pop()
            try:
                with os.scandir(folder) as listing:
                    for entry in listing:
                        name = entry.name
                        if name.startswith("."):
                            if self.takes(name) and not name.startswith(".dlkit-"):
                                left_out.add("hidden files", below + name)
                            continue
                        if not _is_dir(entry):
                            if self.takes(name):
                                yield Source(entry.path, below + name)
                            elif self._unread(name) and not self.elsewhere(name):
                                left_out.add("files of kinds that are not read", below + name)
                            continue
                        if entry.is_symlink() and not self.follow:
                            left_out.add("linked folders (--follow-symlinks)", below + name)
                            continue
                        place = _identity(entry.path)
                        if place == ignored:
                            continue
                        if self.follow and place in seen:
                            left_out.add("folders that were met before", below + name)
                            continue
                        seen.add(place)
                        stack.append((entry.path, f"{below}{name}/"))
            except OSError as error:
                if not below:
                    raise UsageError(f"{folder} cannot be listed ({error.strerror})") from error
                if self.named(source := Source(folder, below)):
                    yield source  # reading it fails, so the run lists it and goes on


def _name(place: Place) -> str:
    return place.name if isinstance(place, Address) else place.resolve().name


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode, the same through links and mounts."""
    try:
        status = os.stat(path)  # noqa: PTH116  # of every folder
    except OSError:
        return None
    return status.st_dev, status.st_ino
