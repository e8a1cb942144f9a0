"""The table that ``dlkit recognize`` writes: a row for every digit, and for what failed."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

COLUMNS = ("file", "digit", "probability", "error")
BOX = ("x", "y", "width", "height")
ON_PAGE = ("line", "place", *BOX, "text")
UNSURE = "unsure"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
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

    def begin(self) -> None:
        """Nothing was written yet."""
        self.digits = self.unsure = self.empty = 0


class Table:
    """Rows on their way into a file. Texts that begin like a formula get a ' before them in CSV:
    names, labels, errors.

    CSV has a row for every digit. JSON lines have an object for every image: of one digit, or with
    ``lines``, each of ``text`` and ``digits``. An image without digits has a row without one.
    """

    def __init__(self, file: IO[str], json_lines: bool, form: Form) -> None:
        self._file, self._json_lines, self._form = file, json_lines, form
        self._csv = csv.writer(file)
        form.begin()
        if not json_lines:
            self._csv.writerow(form.columns)

    def add(self, rows: Iterable[Row]) -> None:
        """Write rows of single digits; empty cells are left out of JSON lines.

        Raises:
            OSError: the disk is full, or the like.
        """
        if self._form.reject is None and not self._json_lines:
            blank = ("",) * (len(self._form.columns) - len(COLUMNS))
            self._csv.writerows(
                [
                    (safe(name), safe(label), probability, safe(error), *blank)
                    for name, label, probability, error in rows
                ]
            )
        else:
            self.add_lines(
                {name: cell for name, cell in zip(COLUMNS, row, strict=True) if cell != ""}
                for row in rows
            )

    def add_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write rows for each line of the manifest."""
        lines = self._counted(each_frame(lines))
        if self._json_lines:
            for line in lines:
                self._file.write(json_line(self._object(line)))
        else:
            blank = ("",) * (len(self._form.columns) - len(COLUMNS))
            rows: list[Sequence[Any]] = []
            for line in lines:
                if self._form.reject is not None or "lines" in line or "x" in line:
                    rows.extend(self._rows(line))
                else:  # a million of them
                    get = line.get
                    cells = (safe(line["file"]), safe(get("digit", "")), get("probability", ""))
                    rows.append((*cells, safe(get("error", "")), *blank))
            self._csv.writerows(rows)

    def close(self) -> None:
        """Write what could not be written before the end is known."""

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
            self._text(line["file"]),
            self._text(digit.get("digit", "")),
            digit.get("probability", ""),
            self._text(line.get("error", "")),
        ]
        if self._form.pages:
            row += [*(at or ("", "")), *(digit.get(name, "") for name in BOX), self._text(text)]
        if self._form.reject is not None:
            row.append("yes" if self._unsure(digit) else "")
        return row

    def _text(self, text: str) -> str:
        return safe(text)

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


def each_frame(lines: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """A line for each frame or page of a file, named ``FILE#1`` and so on."""
    for line in lines:
        if "frames" not in line:
            yield line
            continue
        for number, frame in enumerate(line["frames"], 1):
            yield {"file": f"{line['file']}#{number}", **frame}


def json_line(row: Mapping[str, Any]) -> str:
    """A row as a line of JSON, which is UTF-8: bytes of a name that are none are escaped as lone
    surrogates, from which ``json`` and ``os.fsencode`` make the name again (PEP 383)."""
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(row)
    return text + "\n"


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula (OWASP, CSV injection); numbers are none."""
    if not text.startswith(_FORMULA) or _NUMBER.fullmatch(text):
        return text
    return f"'{text}"
