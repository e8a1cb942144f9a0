"""What an output holds, in brief: by that a manifest knows it again."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self
from zlib import crc32

_PART = 1 << 20  # bytes that are read at once


class Content(NamedTuple):
    """Of an output.

    Attributes:
        size: bytes.
        sum: CRC-32, in eight digits.
    """

    size: int
    sum: str

    @classmethod
    def of(cls, data: bytes | memoryview) -> Self:
        """Of bytes."""
        return cls(len(data), f"{crc32(data):08x}")

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Of a file; ``OSError`` where it cannot be read."""
        size = found = 0
        with path.open("rb", buffering=0) as file:
            while part := file.read(_PART):
                size, found = size + len(part), crc32(part, found)
        return cls(size, f"{found:08x}")

    @property
    def state(self) -> str:
        """As the index of a manifest takes it."""
        return f"{self.size} {self.sum}"
