"""Where tables go: files and objects that appear whole, in the form that their name says."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from dlkit.atomic import atomic_path, check_file, same_place
from dlkit.errors import MachineError, UsageError
from dlkit.runtime.folders.journal import Journal
from dlkit.runtime.folders.parquet_table import ParquetTable
from dlkit.runtime.folders.stored_journal import StoredJournal, state_of
from dlkit.runtime.folders.table import Form, Table
from dlkit.storage import Address, MissingError, Place, open_store

_MANIFEST = ".manifest.jsonl"
_LONGEST = 255  # bytes of a name, of nearly all file systems


class Notes(Protocol):
    """What a table was and may be, as a manifest keeps it; see ``Journal``."""

    tables: set[str]

    def note_table(self, state: str) -> None:
        """Note, before it takes its place, what the table will be."""
        ...


def manifest_of(table: Place) -> Place:
    """Beside a table: it says what the table was when dlkit wrote it."""
    return table.with_name(table.name + _MANIFEST)


def check_table(
    table: Place,
    inputs: Sequence[Place],
    taken: Callable[[str], bool],
    replace: bool,
    option: str = "--out",
) -> None:
    """Refuse a table that would replace an input or become one, or replace what no dlkit wrote.

    One that dlkit wrote and others changed is refused by ``open_table``, which knows the manifest.

    Args:
        taken: whether a file of this name, in a folder of inputs, is an input.
        replace: what others wrote may be replaced; never an input.
        option: that named the table.

    Raises:
        UsageError: why not.
    """
    if isinstance(table, Path):
        if (size := len(os.fsencode(manifest_of(table).name))) > _LONGEST:
            raise UsageError(
                f"{option} {table} is too long: with its manifest's ending the name has {size} "
                f"bytes, and may have {_LONGEST}",
                f"Choose a name of at most {_LONGEST - len(_MANIFEST)} bytes",
            )
        check_file(table, option)
    if any(_same(table, one) for one in inputs):
        raise UsageError(
            f"{option} {table} is an input: it would be overwritten", f"Choose another {option}"
        )
    names = {table.name, table.resolve().name} if isinstance(table, Path) else {table.name}
    if any(map(taken, names)) and any(is_inside(table, one) for one in inputs):
        raise UsageError(
            f"{option} {table} is where the inputs are, and has the name of one",
            f"Choose another {option}",
        )
    manifest = manifest_of(table)
    if not replace and _there(table) and not _there(manifest) and not _parts(manifest):
        raise UsageError(
            f"{option} {table} is there already, and no dlkit wrote it",
            "Choose another, or replace it with --overwrite",
        )


def is_inside(table: Place, folder: Place) -> bool:
    """Whether a table would be a folder or in it, through links too."""
    if isinstance(table, Path) and isinstance(folder, Path):
        return table.resolve().is_relative_to(folder.resolve())
    return isinstance(table, Address) and isinstance(folder, Address) and folder.holds(table)


def check_pictures(table: Place, folder: Place, taken: Callable[[str], bool]) -> None:
    """Refuse a table that would stand in the place of a picture.

    Args:
        folder: of the pictures.
        taken: whether a file of this name has a picture.

    Raises:
        UsageError: it would.
    """
    if taken(table.name) and is_inside(table, folder):
        raise UsageError(
            f"--out {table} is in --annotate {folder}, and has the name of a picture",
            "Choose another --out, e.g. one that ends in .csv",
        )


@contextmanager
def own_notes(table: Place, replace: bool) -> Iterator[Notes]:
    """Notes beside a table, where the manifest of its run is elsewhere.

    Raises:
        MachineError: they cannot be written.
    """
    place = manifest_of(table)
    with closing(
        StoredJournal(place, "", replace) if isinstance(place, Address)
        else Journal(place, "", replace)
    ) as journal:  # fmt: skip
        yield journal
        journal.finish()


def _same(one: Place, other: Place) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return same_place(one, other)
    return one == other


def _there(place: Place) -> bool:
    if isinstance(place, Path):
        return place.exists()
    try:
        open_store(place).head(place.key)
    except MissingError:
        return False
    return True


def _parts(manifest: Place) -> bool:
    """Whether a run that was killed, or shards, left something of its manifest."""
    if isinstance(manifest, Path):
        return False
    store = open_store(manifest)
    return any(any(store.list(state_of(manifest, kind).key)) for kind in ("parts", "shards"))


class Kinds(NamedTuple):
    """Classes of tables: of text files, and of Parquet files."""

    text: type[Table] = Table
    parquet: type[ParquetTable] = ParquetTable


DIGITS = Kinds()


@contextmanager
def open_table(
    place: Place, notes: Notes, replace: bool, form: Form | None = None, kinds: Kinds = DIGITS
) -> Iterator[Table]:
    """``open_file_table``, or one that is put when the block ends well; it replaces a table only as
    dlkit left that. What it will be is noted first, so a kill between both does no harm.

    Args:
        notes: of the manifest.
        replace: a table that others wrote or changed, too.

    Raises:
        UsageError: there is a table that others changed.
    """
    if not replace:
        _check_unchanged(place, notes)
    if isinstance(place, Path):

        def whole(part: Path) -> None:
            if not replace:  # it may have been changed while the run went on
                _check_unchanged(place, notes)
            notes.note_table(_content(part))

        with open_file_table(place, form, kinds, whole) as table:
            yield table
        return
    with tempfile.TemporaryDirectory(prefix="dlkit-") as folder:
        path = Path(folder, f"table{place.suffix}")
        with open_file_table(path, form, kinds) as table:
            yield table
        notes.note_table(_content(path))
        notes.note_table(open_store(place).put(place.key, path))  # its ETag: no need to read it


def _check_unchanged(table: Place, notes: Notes) -> None:
    if isinstance(table, Path):
        same = not table.exists() or _content(table) in notes.tables
    else:
        store = open_store(table)
        try:
            same = store.head(table.key).etag in notes.tables
            if not same:
                with tempfile.TemporaryFile() as file:
                    store.get_into(table.key, file)
                    file.seek(0)
                    same = _sum(file) in notes.tables
        except MissingError:
            return
    if not same:
        raise UsageError(
            f"{table} was changed since dlkit wrote it",
            "Move it, choose another place, or replace it with --overwrite",
        )


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _sum(file)
    except OSError as error:
        raise MachineError(f"{path} cannot be read ({error.strerror})") from error


def _sum(file: IO[bytes]) -> str:
    found = hashlib.blake2b(digest_size=16)
    while part := file.read(1 << 20):
        found.update(part)
    return found.hexdigest()


@contextmanager
def open_file_table(
    path: Path,
    form: Form | None = None,
    kinds: Kinds = DIGITS,
    whole: Callable[[Path], None] = lambda part: None,
) -> Iterator[Table]:
    """A table that appears whole when the block ends well: JSON lines when its name ends in .jsonl,
    Parquet when in .parquet, else CSV.

    Args:
        form: which columns; its counts are those of this table.
        kinds: what takes the lines.
        whole: takes the file before it appears.

    Raises:
        MachineError: it cannot be written, e.g. no space is left.
    """
    form = form or Form()
    try:
        if path.suffix.lower() == ".parquet":
            with atomic_path(path) as part:
                rows = kinds.parquet(part, form)
                yield rows
                rows.close()
                whole(part)
            return
        with atomic_path(path) as part:
            with part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                table = kinds.text(file, path.suffix.lower() in (".jsonl", ".json"), form)
                yield table
                table.close()
            whole(part)
    except OSError as error:
        raise MachineError(f"{path} cannot be written ({error.strerror})") from error
