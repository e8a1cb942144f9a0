"""The table that ``dlkit recognize`` writes: a row for every digit, and for what failed."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from dlkit.atomic import atomic_path, check_file, same_place
from dlkit.errors import MachineError, UsageError
from dlkit.runtime.folders.stored_journal import state_of
from dlkit.storage import MissingError, Place, open_store

COLUMNS = ("file", "digit", "probability", "error")
BOX = ("x", "y", "width", "height")
ON_PAGE = ("line", "place", *BOX, "text")
UNSURE = "unsure"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
Row = tuple[str, str, float | str, str]


@dataclass
class Form:
    """What a table has beside file, digit, probability and error.

    Attributes:
        pages: where each digit is.
        reject: digits below this probability are marked as unsure; None marks none.
        digits, unsure: how many were written.
        empty: images on which no digit was found.
    """

    pages: bool = False
    reject: float | None = None
    digits: int = 0
    unsure: int = 0
    empty: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the CSV file."""
        marked = () if self.reject is None else (UNSURE,)
        return COLUMNS + (ON_PAGE if self.pages else ()) + marked


class Table:
    """Rows on their way into a file. Names that begin like a formula get a ' before them in CSV.

    CSV has a row for every digit. JSON lines have an object for every image: of one digit, or with
    ``lines``, each of ``text`` and ``digits``. An image without digits has a row without one.
    """

    def __init__(self, file: IO[str], json_lines: bool, form: Form) -> None:
        self._file, self._json_lines, self._form = file, json_lines, form
        self._csv = csv.writer(file)
        form.digits = form.unsure = form.empty = 0
        if not json_lines:
            self._csv.writerow(form.columns)

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows of single digits; empty cells are left out of JSON lines.

        Raises:
            OSError: the disk is full, or the like.
        """
        if self._form.reject is None and not self._json_lines:
            blank = ("",) * (len(self._form.columns) - len(COLUMNS))
            self._csv.writerows([(_safe(row[0]), *row[1:], *blank) for row in rows])
        else:
            self.add_lines(
                {name: cell for name, cell in zip(COLUMNS, row, strict=True) if cell != ""}
                for row in rows
            )

    def add_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write rows for each line of the manifest."""
        lines = self._counted(_frames(lines))
        if self._json_lines:
            for line in lines:
                self._file.write(json.dumps(self._object(line), ensure_ascii=False) + "\n")
        else:
            blank = ("",) * (len(self._form.columns) - len(COLUMNS))
            rows: list[Sequence[Any]] = []
            for line in lines:
                if self._form.reject is not None or "lines" in line or "x" in line:
                    rows.extend(self._rows(line))
                else:  # a million of them
                    get = line.get
                    cells = (_safe(line["file"]), get("digit", ""), get("probability", ""))
                    rows.append((*cells, get("error", ""), *blank))
            self._csv.writerows(rows)

    def _counted(self, lines: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for line in lines:
            self._form.empty += "lines" in line and not line["lines"]
            yield line

    def _rows(self, line: Mapping[str, Any]) -> Iterator[list[Any]]:
        if not line.get("lines"):
            yield self._row(line, line, (), "")
            return
        for number, written in enumerate(line["lines"], 1):
            for place, digit in enumerate(written["digits"], 1):
                yield self._row(line, digit, (number, place), written["text"])

    def _row(
        self, line: Mapping[str, Any], digit: Mapping[str, Any], at: tuple[int, ...], text: str
    ) -> list[Any]:
        row = [
            _safe(line["file"]),
            *(digit.get(name, "") for name in COLUMNS[1:3]),
            line.get("error", ""),
        ]
        if self._form.pages:
            row += [*(at or ("", "")), *(digit.get(name, "") for name in BOX), text]
        if self._form.reject is not None:
            row.append("yes" if self._unsure(digit) else "")
        return row

    def _object(self, line: Mapping[str, Any]) -> dict[str, Any]:
        names = (*COLUMNS, *BOX) if self._form.pages else COLUMNS
        found = {name: line[name] for name in names if name in line}
        if "lines" in line:
            found["lines"] = [
                {
                    "text": written["text"],
                    "digits": [self._marked(digit) for digit in written["digits"]],
                }
                for written in line["lines"]
            ]
            return found
        return self._marked(found)

    def _marked(self, digit: Mapping[str, Any]) -> dict[str, Any]:
        return {**digit, UNSURE: True} if self._unsure(digit) else dict(digit)

    def _unsure(self, digit: Mapping[str, Any]) -> bool:
        """Whether a digit is; counted."""
        if self._form.reject is None or "probability" not in digit:
            return False
        self._form.digits += 1
        unsure = bool(digit["probability"] < self._form.reject)
        self._form.unsure += unsure
        return unsure


def _frames(lines: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """A line for each frame or page of a file, named ``FILE#1`` and so on."""
    for line in lines:
        if "frames" not in line:
            yield line
            continue
        for number, frame in enumerate(line["frames"], 1):
            yield {"file": f"{line['file']}#{number}", **frame}


def _safe(name: str) -> str:
    """A file's name that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{name}" if name.startswith(_FORMULA) else name


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


@contextmanager
def open_table(place: Place, form: Form | None = None) -> Iterator[Table]:
    """``open_file_table``, or one that is put when the block ends well."""
    if isinstance(place, Path):
        with open_file_table(place, form) as table:
            yield table
        return
    with tempfile.TemporaryDirectory(prefix="dlkit-") as folder:
        path = Path(folder, f"table{place.suffix}")
        with open_file_table(path, form) as table:
            yield table
        open_store(place).put(place.key, path)


@contextmanager
def open_file_table(path: Path, form: Form | None = None) -> Iterator[Table]:
    """A table that appears whole when the block ends well; JSON lines when it ends in .jsonl.

    Args:
        form: which columns; its counts are those of this table.

    Raises:
        MachineError: it cannot be written, e.g. no space is left.
    """
    try:
        with (
            atomic_path(path) as part,
            part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            yield Table(file, path.suffix.lower() in (".jsonl", ".json"), form or Form())
    except OSError as error:
        raise MachineError(f"{path} cannot be written ({error.strerror})") from error
