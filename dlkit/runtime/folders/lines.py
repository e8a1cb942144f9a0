"""Lines of manifests: JSON, each with a sum by which one that was damaged or edited is seen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zlib import crc32

from dlkit.errors import InputError

_BEGIN = b'{"check": "00000000", "'  # with any sum
_FIELDS = len(_BEGIN) - 1
_SUM = slice(_BEGIN.index(b"0"), _BEGIN.rindex(b"0") + 1)


def checked(fields: str) -> str:
    """A line, from what stands between its braces."""
    return f'{{"check": "{crc32(fields.encode()):08x}", {fields}}}\n'


def as_lines(lines: Iterable[Mapping[str, Any]]) -> str:
    """JSON lines, each with its sum."""
    return "".join(checked(json.dumps(line)[1:-1]) for line in lines)


def plain(line: bytes) -> bytes | None:
    """The JSON of a line, without its sum; None where the sum is not its own."""
    head = b'{"check": "%08x", ' % crc32(line[_FIELDS:-2])
    if line.startswith(head) and line.endswith(b"}\n"):
        return b"{" + line[_FIELDS:]
    return None


def is_cut(line: bytes) -> bool:
    """Whether bytes are the beginning of a line, as a killed run leaves it."""
    found = re.sub(rb"[0-9a-f]", b"0", line[_SUM])
    head = line[: _SUM.start] + found + line[_SUM.stop : len(_BEGIN)]
    return _BEGIN.startswith(head)


def read_lines(data: bytes, name: str, mend: str) -> Iterator[dict[str, Any]]:
    """The lines of a file of which none may be damaged.

    Args:
        name, mend: for the message.

    Raises:
        InputError: one is.
    """
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        if (found := plain(line)) is None:
            raise InputError(f"{name}: line {number} is damaged or was edited", mend)
        yield json.loads(found)
