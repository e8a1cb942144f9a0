"""The table that ``dlkit recognize`` writes, as a Parquet file: a typed column each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlkit.errors import UsageError
from dlkit.runtime.folders.table import COLUMNS, UNSURE, Form, Row, Table, each_frame

_ROWS = 1 << 16  # of a row group
# Types by column; all others are texts.
_NUMBERS = ("line", "place", "x", "y", "width", "height", "object", "area")


class ParquetTable(Table):
    """Rows on their way into a Parquet file: those of the CSV file, with null for empty cells,
    names as they are, whole numbers, float64 probabilities, and true or false for unsure.

    Bytes of a name that are no UTF-8 are written as ``\\xff``.

    Raises:
        UsageError: pyarrow is not installed.
    """

    def __init__(self, path: Path, form: Form) -> None:
        try:
            import pyarrow as arrow
            from pyarrow.parquet import ParquetWriter
        except ModuleNotFoundError as error:
            raise UsageError(
                "to write Parquet files you need pyarrow",
                "Install it: pip install 'dlkit-vision[parquet]'; or choose .csv or .jsonl",
            ) from error
        types = {
            **dict.fromkeys(("probability", "score"), arrow.float64()),
            UNSURE: arrow.bool_(),
            **dict.fromkeys(_NUMBERS, arrow.int32()),
        }
        self._arrow: Any = arrow
        self._schema = arrow.schema(
            [(name, types.get(name, arrow.string())) for name in form.columns]
        )
        self._form = form
        self._waiting: list[Sequence[Any]] = []
        form.begin()
        self._writer: Any = ParquetWriter(path, self._schema)

    def add(self, rows: Iterable[Row]) -> None:
        self.add_lines(
            {name: cell for name, cell in zip(COLUMNS, row, strict=True) if cell != ""}
            for row in rows
        )

    def add_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        for line in self._counted(each_frame(lines)):
            self._waiting.extend(self._rows(line))
        if len(self._waiting) >= _ROWS:
            self._write()

    def close(self) -> None:
        """Write what is left, and the end."""
        self._write()
        self._writer.close()

    def _text(self, text: str) -> str:
        return text

    def _write(self) -> None:
        if not self._waiting:
            return
        columns = zip(*self._waiting, strict=True)
        arrays = [
            self._arrow.array([_cell(field.name, cell) for cell in column], field.type)
            for field, column in zip(self._schema, columns, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self._waiting = []


def _cell(name: str, cell: Any) -> Any:
    if name == UNSURE:
        return cell == "yes"
    if cell == "":
        return None
    if isinstance(cell, str):
        return cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return cell
