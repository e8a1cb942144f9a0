"""Where tables go: files and objects that appear whole, in the form that their name says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dlkit.atomic import atomic_path, check_file, same_place
from dlkit.errors import MachineError, UsageError
from dlkit.runtime.folders.parquet_table import ParquetTable
from dlkit.runtime.folders.stored_journal import state_of
from dlkit.runtime.folders.table import Form, Table
from dlkit.storage import MissingError, Place, open_store


def check_table(table: Place, manifest: Place, inputs: Sequence[Place], replace: bool) -> None:
    """Refuse a table that would replace an input, or what no dlkit wrote.

    Args:
        replace: what others wrote may be replaced.

    Raises:
        UsageError: why not.
    """
    if isinstance(table, Path):
        check_file(table)
    if any(
        same_place(table, one)
        if isinstance(table, Path) and isinstance(one, Path)
        else table == one
        for one in inputs
    ):
        raise UsageError(
            f"--out {table} is an input: it would be overwritten", "Choose another --out"
        )
    if not replace and _there(table) and not _there(manifest) and not _parts(manifest):
        raise UsageError(
            f"--out {table} is there already, and no dlkit wrote it",
            "Choose another, or replace it with --overwrite",
        )


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
