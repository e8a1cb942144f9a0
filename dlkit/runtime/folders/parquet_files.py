"""Images in a column of a Parquet file, read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from dlkit.errors import DlkitError, InputError, UsageError

SUFFIXES = (".parquet",)
_ROWS = 16  # that are read together
_BUFFER = 1 << 20  # bytes of a column that are read at once
_NAMES = ("image", "img")  # of the column, where several could be it
# How files begin, and the endings of their names.
_BEGINS = (
    (0, b"\x89PNG", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (8, b"WEBP", ".webp"),
    (0, b"GIF8", ".gif"),
    (0, b"BM", ".bmp"),
    (0, b"P5", ".pgm"),
    (0, b"P6", ".ppm"),
    (4, b"jP  ", ".jp2"),
    (4, b"ftypavif", ".avif"),
    (0, b"\x93NUMPY", ".npy"),
    (0, b"PK\3\4", ".npz"),
)
Found = tuple[str, bytes | DlkitError]


def parquet_members(file: IO[bytes]) -> Iterator[Found]:
    """Name and content of each row's image: ``00000012.png`` for row 12, counted from 0.

    The column is of bytes, or a struct with ``bytes`` as Hugging Face's datasets have it; where
    several could be it, the one that is called ``image`` or ``img``. In the place of a content that
    cannot be had is the error that says why; that of a damaged file has no name.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise UsageError(
            "to read Parquet files you need pyarrow",
            "Install it: pip install 'dlkit-vision[parquet]'",
        ) from error
    row = 0
    try:
        with ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as table:
            column, inner = _column(arrow, table.schema_arrow)
            batches = table.iter_batches(_ROWS, columns=[column + inner], use_threads=False)
            for batch in batches:
                values: Any = batch.column(0)
                for value in values.field(0) if inner else values:
                    content = value.as_py()
                    if content is None:
                        yield f"{row:08d}", InputError(f"row {row} has no image")
                    else:
                        yield f"{row:08d}{_ending(content)}", content
                    row += 1
    except DlkitError as error:
        yield "", error
        return
    except (arrow.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        yield "", InputError(f"cannot be read as a Parquet file after {row} rows ({why})")
        return
    if not row:
        yield "", InputError("the Parquet file has no rows")


def _column(arrow: Any, schema: Any) -> tuple[str, str]:
    """The images' column, and what of a struct holds them."""
    types = arrow.types

    def binary(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    found = {}
    for field in schema:
        kind = field.type
        if binary(kind):
            found[field.name] = ""
        elif types.is_struct(kind) and any(
            one.name == "bytes" and binary(one.type) for one in kind.fields
        ):
            found[field.name] = ".bytes"
    if not found:
        there = ", ".join(f"{field.name} {field.type}" for field in schema)
        raise InputError(f"the Parquet file has no column of images (bytes); it has {there}")
    named = [name for name in _NAMES if name in found] or list(found)
    if len(found) > 1 and named[0] not in _NAMES:
        raise InputError(
            f"the Parquet file has several columns of bytes: {', '.join(found)}",
            "Call the one of the images 'image'",
        )
    return named[0], found[named[0]]


def _ending(content: bytes) -> str:
    for at, magic, ending in _BEGINS:
        if content[at : at + len(magic)] == magic:
            return ending
    return ""
