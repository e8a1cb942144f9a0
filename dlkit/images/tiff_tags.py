"""What a TIFF file says of its pages."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Any

# By TIFF 6.0; BigTIFF has 43 in the place of 42, and numbers of eight bytes.
_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NUMBERS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}  # types of values
_MOST = 1 << 16  # values of a tag: the places of strips of one row among them
Tags = dict[int, tuple[int, ...]]


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as they do."""
    return data.startswith(_HEADS)


def directories(data: bytes, wanted: Collection[int]) -> Iterator[Tags]:
    """The wanted tags of each page, in order.

    Raises:
        ValueError: a page's tags are not all in the file.
    """
    order = "<" if data.startswith(b"II") else ">"
    big = b"+" in data[2:4]
    number, entry, offset = (
        (struct.Struct(order + form) for form in ("Q", "HHQ8s", "Q"))
        if big
        else (struct.Struct(order + form) for form in ("H", "HHI4s", "I"))
    )

    def unpacked(form: struct.Struct, at: int) -> tuple[Any, ...]:
        if at + form.size > len(data):
            raise ValueError("its list of pages leads out of the file: it is cut or damaged")
        return form.unpack_from(data, at)

    (at,) = unpacked(offset, 8 if big else 4)
    seen = set[int]()
    while at:
        if at in seen:
            raise ValueError("its list of pages has no end")
        seen.add(at)
        (count,) = unpacked(number, at)
        at += number.size
        tags: Tags = {}
        for place in range(at, min(at + count * entry.size, len(data)), entry.size):
            tag, kind, many, inside = unpacked(entry, place)
            if tag in wanted and kind in _NUMBERS and 0 < many <= _MOST:
                form = struct.Struct(f"{order}{many}{_NUMBERS[kind]}")
                if form.size <= len(inside):
                    tags[tag] = form.unpack_from(inside)
                else:
                    tags[tag] = unpacked(form, *offset.unpack(inside))
        yield tags
        (at,) = unpacked(offset, at + count * entry.size)
