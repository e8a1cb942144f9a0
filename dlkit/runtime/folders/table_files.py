"""Where tables go: files and objects that appear whole, in the form that their name says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from dlkit.atomic import atomic_path, check_file, same_place, write_bytes
from dlkit.errors import MachineError, UsageError
from dlkit.runtime.folders.parquet_table import ParquetTable
from dlkit.runtime.folders.stored_journal import state_of
from dlkit.runtime.folders.table import Form, Table
from dlkit.storage import Address, ExistsError, MissingError, Place, open_store

_MARK = b'{"claim": []}\n'  # a manifest of nothing


def manifest_of(table: Place) -> Place:
    """Beside a table: who finds it there knows that the table is dlkit's."""
    return table.with_name(table.name + ".manifest.jsonl")


def check_table(
    table: Place,
    inputs: Sequence[Place],
    taken: Callable[[str], bool],
    replace: bool,
    option: str = "--out",
) -> None:
    """Refuse a table that would replace an input or become one, or replace what no dlkit wrote.

    Args:
        taken: whether a file of this name, in a folder of inputs, is an input.
        replace: what others wrote may be replaced; never an input.
        option: that named the table.

    Raises:
        UsageError: why not.
    """
    if isinstance(table, Path):
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


def mark(table: Place) -> None:
    """Note that a table is dlkit's, where the manifest of its run is elsewhere.

    Raises:
        MachineError: it cannot be written.
    """
    place = manifest_of(table)
    if _there(place):
        return
    if isinstance(place, Address):
        with suppress(ExistsError):
            open_store(place).put(place.key, _MARK, create=True)
        return
    try:
        write_bytes(place, _MARK)
    except OSError as error:
        raise MachineError(f"{place} cannot be written ({error.strerror})") from error


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
def open_table(place: Place, form: Form | None = None, kinds: Kinds = DIGITS) -> Iterator[Table]:
    """``open_file_table``, or one that is put when the block ends well."""
    if isinstance(place, Path):
        with open_file_table(place, form, kinds) as table:
            yield table
        return
    with tempfile.TemporaryDirectory(prefix="dlkit-") as folder:
        path = Path(folder, f"table{place.suffix}")
        with open_file_table(path, form, kinds) as table:
            yield table
        open_store(place).put(place.key, path)


@contextmanager
def open_file_table(path: Path, form: Form | None = None, kinds: Kinds = DIGITS) -> Iterator[Table]:
    """A table that appears whole when the block ends well: JSON lines when its name ends in .jsonl,
    Parquet when in .parquet, else CSV.

    Args:
        form: which columns; its counts are those of this table.
        kinds: what takes the lines.

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
            return
        with (
            atomic_path(path) as part,
            part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            table = kinds.text(file, path.suffix.lower() in (".jsonl", ".json"), form)
            yield table
            table.close()
    except OSError as error:
        raise MachineError(f"{path} cannot be written ({error.strerror})") from error
