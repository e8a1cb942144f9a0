"""Which shared libraries an ELF file links to: what ``readelf -d`` calls NEEDED.

Only 64-bit little-endian files, which is every Linux machine that CUDA runs on.
Source: System V ABI, "Object Files": ELF header, program header, dynamic section.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"\x7fELF\x02\x01"  # 64-bit, little-endian
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 0, 1, 5, 10


def needed(path: Path) -> list[str]:
    """Names of the libraries that the loader must find before this one.

    Raises:
        ValueError: it is no such ELF file.
    """
    try:
        with path.open("rb") as file:
            return _needed(file)
    except struct.error as error:
        raise ValueError(f"{path} is cut short") from error


def _needed(file: BinaryIO) -> list[str]:
    header = file.read(64)
    if not header.startswith(_MAGIC):
        raise ValueError(f"{file.name} is no 64-bit little-endian ELF file")
    (offset,) = struct.unpack_from("<Q", header, 32)  # e_phoff
    size, count = struct.unpack_from("<HH", header, 54)  # e_phentsize, e_phnum
    file.seek(offset)
    table = file.read(size * count)
    loads: list[tuple[int, int, int]] = []  # address, offset in the file, bytes
    dynamic = b""
    for index in range(count):
        # p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz
        kind, _, start, address, _, length = struct.unpack_from("<IIQQQQ", table, index * size)
        if kind == _PT_LOAD:
            loads.append((address, start, length))
        elif kind == _PT_DYNAMIC:
            file.seek(start)
            dynamic = file.read(length)
    names: list[int] = []
    strings = string_bytes = 0
    for tag, value in struct.iter_unpack("<qQ", dynamic):
        if tag == _DT_NULL:
            break
        if tag == _DT_NEEDED:
            names.append(value)
        elif tag == _DT_STRTAB:
            strings = value
        elif tag == _DT_STRSZ:
            string_bytes = value
    for address, start, length in loads:
        if address <= strings < address + length:
            file.seek(start + strings - address)
            text = file.read(string_bytes)
            return [text[name : text.index(b"\0", name)].decode() for name in names]
    return []
