"""The table that ``dlkit recognize`` writes: a row for every image, failed ones too."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dlkit.atomic import atomic_path
from dlkit.errors import InputError

COLUMNS = ("file", "digit", "probability", "error")
Row = tuple[str, str, float | str, str]


class Table:
    """Rows on their way into a file."""

    def __init__(self, file: IO[str], json_lines: bool) -> None:
        self._file, self._json_lines = file, json_lines
        self._csv = csv.writer(file)
        if not json_lines:
            self._csv.writerow(COLUMNS)

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows; empty cells are left out of JSON lines.

        Raises:
            OSError: the disk is full, or the like.
        """
        if self._json_lines:
            for row in rows:
                cells = {name: cell for name, cell in zip(COLUMNS, row, strict=True) if cell != ""}
                self._file.write(json.dumps(cells, ensure_ascii=False) + "\n")
        else:
            self._csv.writerows(rows)

    def add_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write a row for each line of the manifest."""
        self.add(
            (
                str(line["file"]),
                str(line.get("digit", "")),
                line.get("probability", ""),
                str(line.get("error", "")),
            )
            for line in lines
        )


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """A table that appears whole when the block ends well; JSON lines when it ends in .jsonl.

    Raises:
        InputError: it cannot be written, e.g. no space is left.
    """
    try:
        with (
            atomic_path(path) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            yield Table(file, path.suffix.lower() in (".jsonl", ".json"))
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from error
