"""The table that ``dlkit recognize`` writes: a row for every input, failed ones too."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dlkit.atomic import atomic_path
from dlkit.errors import InputError
from dlkit.runtime.folder import Source
from dlkit.runtime.pipeline import Result

COLUMNS = ("file", "digit", "probability", "error")


@dataclass
class Table:
    """Rows on their way into a file."""

    file: IO[str]
    json_lines: bool

    def __post_init__(self) -> None:
        self._csv = csv.writer(self.file)
        if not self.json_lines:
            self._csv.writerow(COLUMNS)

    def add(self, results: Iterable[Result[Source]]) -> Iterator[Result[Source]]:
        """Write a row for each result that passes through."""
        for result in results:
            name = result.source.name.as_posix()
            if result.error is not None:
                row = (name, "", "", str(result.error))
            else:
                row = (name, result.answer.label, f"{result.answer.probability:.6f}", "")
            if self.json_lines:
                kept = {key: value for key, value in zip(COLUMNS, row, strict=True) if value}
                if "probability" in kept:
                    kept["probability"] = float(kept["probability"])  # type: ignore[assignment]
                self.file.write(json.dumps(kept, ensure_ascii=False) + "\n")
            else:
                self._csv.writerow(row)
            yield result


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
