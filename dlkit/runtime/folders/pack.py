"""Many files as a few tar files, as WebDataset reads them."""

from __future__ import annotations

import io
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from dlkit.atomic import atomic_path
from dlkit.errors import DlkitError, UsageError
from dlkit.runtime.folders.sources import Inputs, LeftOut, Source
from dlkit.storage import Address, Place, open_store, read_ahead
from dlkit.storage.store import WholeError

_NAME = re.compile(r"\d{6}\.tar")
# At the beginning of each tar file, where readers pass over it, and a later run knows it again.
_MARK = {"comment": "dlkit pack"}
_LINE = b" comment=dlkit pack\n"
_HEAD = 1024  # bytes that hold it
Group = list[tuple[str, bytes]]


@dataclass
class Packed:
    """What was packed.

    Attributes:
        size: bytes of the tar files.
        failures: names of files that cannot be read, and why.
        left_out: what the folders hold besides.
    """

    shards: int = 0
    files: int = 0
    size: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)


def pack(
    inputs: Inputs,
    out: Place,
    most_files: int,
    most_bytes: int,
    overwrite: bool = False,
    watch: Callable[[Packed], None] = lambda packed: None,
) -> Packed:
    """Make ``OUT/000000.tar`` and so on of all files, in the order of their names.

    Files of one name up to its first point (an image and its label) stay together, as WebDataset
    has it, unless they are more than a tar file takes. The same files give the same bytes: dates
    and owners are left out. Each tar file appears whole or not at all.

    Args:
        most_files, most_bytes: of one tar file; a larger file has one for itself.
        overwrite: replace tar files of an earlier run, which have its mark; what it had more of
            goes, once all files are packed.
        watch: called now and then with how far it is.

    Raises:
        UsageError: there are tar files in ``out`` already, or such of others.
    """
    there = set(_there(out))
    if there and not overwrite:
        raise UsageError(
            f"{out} holds {min(there)} already", "Choose another folder, or say --overwrite"
        )
    packed = Packed()
    groups_of = _groups(inputs, packed, most_files, most_bytes)
    for groups in _cut(groups_of, most_files, most_bytes):
        if not packed.shards:
            _refuse_others(out, there)
        name = f"{packed.shards:06d}.tar"
        with _written(out, name) as path:
            with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=_MARK) as archive:
                for member, data in groups:
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
                    packed.files += 1
                    watch(packed)
            packed.size += path.stat().st_size
        packed.shards += 1
        there.discard(name)
    if packed.shards and not packed.failures:
        for name in there:  # of an earlier run with more of them
            _remove(out, name)
    return packed


def _groups(inputs: Inputs, packed: Packed, most_files: int, most_bytes: int) -> Iterator[Group]:
    """Files of one name but for what follows its first point, with their content."""
    sources = sorted(inputs(packed.left_out), key=lambda one: (_key(one), one.name))
    for _, some in groupby(read_ahead(sources), key=_key):
        group: Group = []
        size = 0
        for source in some:
            try:
                data = source.read()
            except DlkitError as error:
                packed.failures.append((source.name, str(error)))
                continue
            if group and (len(group) == most_files or size + len(data) > most_bytes):
                yield group
                group, size = [], 0
            group.append((source.name, data))
            size += len(data)
        if group:
            yield group


def _key(source: Source) -> str:
    """As WebDataset has it: the path up to the first point of the file's name."""
    folder, slash, name = source.name.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _cut(
    groups: Iterable[Group], most_files: int, most_bytes: int
) -> Iterator[Iterator[tuple[str, bytes]]]:
    """The files of each tar file; one has to be taken whole before the next."""
    waiting = iter(groups)
    first = next(waiting, None)

    def some() -> Iterator[tuple[str, bytes]]:
        nonlocal first
        files = size = 0
        while first is not None:
            more = sum(len(data) for _, data in first)
            if files and (files + len(first) > most_files or size + more > most_bytes):
                return
            files, size = files + len(first), size + more
            yield from first
            first = next(waiting, None)

    while first is not None:
        yield some()


@contextmanager
def _written(out: Place, name: str) -> Iterator[Path]:
    if isinstance(out, Path):
        with atomic_path(out / name) as part:
            yield part
        return
    with tempfile.TemporaryDirectory(prefix="dlkit-") as folder:
        path = Path(folder, name)
        yield path
        open_store(out).put(out.below(name).key, path)


def _there(out: Place) -> Iterator[str]:
    if isinstance(out, Address):
        names = (one.key[len(out.key) :].lstrip("/") for one in open_store(out).list(out.key))
    else:
        names = (one.name for one in out.iterdir())
    return (name for name in names if _NAME.fullmatch(name))


def _refuse_others(out: Place, names: Iterable[str]) -> None:
    for name in sorted(names):
        if _LINE not in _head(out, name):
            raise UsageError(
                f"{_target(out, name)} is no tar file of dlkit pack, and has the name of one",
                "Move it, or choose another folder",
            )


def _target(out: Place, name: str) -> Place:
    return out.below(name) if isinstance(out, Address) else out / name


def _head(out: Place, name: str) -> bytes:
    """How a file begins; of an object all of it, where the store gives no ranges."""
    if isinstance(out, Path):
        path = out / name
        if not path.is_file():  # a folder, or a pipe
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD)
    store, key = open_store(out), out.below(name).key
    if store.head(key).size < _HEAD:  # no tar file
        return b""
    try:
        return store.get_range(key, 0, _HEAD)[0]
    except WholeError:
        return store.get(key)[0][:_HEAD]


def _remove(out: Place, name: str) -> None:
    if isinstance(out, Address):
        open_store(out).delete([out.below(name).key])
    else:
        (out / name).unlink()
