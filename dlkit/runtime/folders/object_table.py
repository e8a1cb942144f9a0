"""The table of what was found on scans: a row for every object, or COCO's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from dlkit.runtime.folders.parquet_table import ParquetTable
from dlkit.runtime.folders.table import Form, Table, each_frame, json_line
from dlkit.runtime.folders.table_files import Kinds

_BOX = ("score", "x", "y", "width", "height", "area")
COLUMNS = ("file", "object", *_BOX, "error")


@dataclass
class ObjectForm(Form):
    """Columns of objects.

    Attributes:
        scans, found: scans that were written, and objects on them.
        begun: a table was.
    """

    scans: int = 0
    found: int = 0
    begun: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the CSV and the Parquet file."""
        return COLUMNS

    def begin(self) -> None:
        """Nothing was written yet."""
        self.scans = self.found = 0
        self.begun = True


class _Objects(Table):
    """Rows of the manifest's lines. A scan without objects has one row, without an object."""

    _form: ObjectForm

    def _counted(self, lines: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for line in lines:
            self._form.scans += "objects" in line
            self._form.found += len(line.get("objects", ()))
            yield line

    def _rows(self, line: Mapping[str, Any]) -> Iterator[list[Any]]:
        name, error = self._text(line["file"]), self._text(line.get("error", ""))
        found = line.get("objects", ())
        if not found:
            yield [name, *("",) * (len(COLUMNS) - 2), error]
        for number, one in enumerate(found, 1):
            yield [name, number, *(one[key] for key in _BOX), error]


class TextObjects(_Objects):
    """CSV, or JSON lines with an object for every scan."""

    def add_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write rows for each line of the manifest."""
        for line in self._counted(each_frame(lines)):
            if self._json_lines:
                names = ("file", "height", "width", "objects", "error")
                kept = {name: line[name] for name in names if name in line}
                self._file.write(json_line(kept))
            else:
                self._csv.writerows(self._rows(line))


class ParquetObjects(_Objects, ParquetTable):
    """The rows of the CSV file, typed."""

    def _text(self, text: str) -> str:
        return text


class CocoObjects(_Objects):
    """COCO's JSON: images, annotations with boxes, outlines and scores, one category. Files that
    failed are in ``info``. An object without an outline has that of its box."""

    def __init__(self, file: IO[str], json_lines: bool, form: Form) -> None:
        super().__init__(file, True, form)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._failed: dict[str, str] = {}

    def add_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Keep them: COCO's images come before its annotations."""
        for line in self._counted(each_frame(lines)):
            if "objects" not in line:
                self._failed[_text(line["file"])] = line.get("error", "")
                continue
            number = len(self._images) + 1
            size = {"height": line["height"], "width": line["width"]}
            self._images.append({"id": number, "file_name": _text(line["file"]), **size})
            for one in line["objects"]:
                self._annotations.append({
                    "id": len(self._annotations) + 1, "image_id": number, "category_id": 1,
                    "bbox": [one["x"], one["y"], one["width"], one["height"]],
                    "area": one["area"], "segmentation": one["outlines"] or _box(one), "iscrowd": 0,
                    "score": one["score"],
                })  # fmt: skip

    def close(self) -> None:
        """Write all."""
        whole = {
            "info": {"description": "found by dlkit", "failed": self._failed},
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": 1, "name": "object"}],
        }
        json.dump(whole, self._file, ensure_ascii=False)
        self._file.write("\n")


def _box(one: Mapping[str, Any]) -> list[list[int]]:
    """The box's outline."""
    left, top = one["x"], one["y"]
    right, bottom = left + one["width"], top + one["height"]
    return [[left, top, right, top, right, bottom, left, bottom]]


def _text(name: str) -> str:
    """A name whose bytes that are no UTF-8 are written as ``\\xff``: JSON has no others."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


TABLES = Kinds(TextObjects, ParquetObjects)
COCO = Kinds(CocoObjects, ParquetObjects)
