"""A folder of pictures that dlkit generate made, a PNG file each."""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dlkit.images import UInt8

_NAME = re.compile(r"\d{6,}(-.*)?\.png")
# A PNG file's signature and header come first; "Software" is a keyword of PNG's specification.
_HEADER = 8 + 25
_TEXT = b"tEXtSoftware\0dlkit generate"
_MARK = struct.pack(">I", len(_TEXT) - 4) + _TEXT + struct.pack(">I", zlib.crc32(_TEXT))


def write(folder: Path, pictures: UInt8, labels: Sequence[str] | None) -> None:
    """Write NUMBER-LABEL.png for each picture, without a label where there are none, and remove
    what an earlier run wrote beyond these; other files stay.

    Args:
        pictures: uint8 (N, H, W) or (N, H, W, 3) BGR.
        labels: of each picture.

    Raises:
        MachineError: one cannot be written.
    """
    from dlkit import images
    from dlkit.atomic import write_new

    earlier = {path.name for path in folder.iterdir() if _ours(path)} if folder.is_dir() else set()
    for place, picture in enumerate(pictures):
        name = f"{place:06d}{f'-{labels[place]}' if labels else ''}.png"
        data = images.encode(picture, ".png")
        write_new(folder / name, data[:_HEADER] + _MARK + data[_HEADER:])
        earlier.discard(name)
    for name in earlier:
        (folder / name).unlink(missing_ok=True)


def _ours(path: Path) -> bool:
    """Whether the command wrote this file."""
    if not _NAME.fullmatch(path.name) or not path.is_file():
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(_HEADER + len(_MARK)).endswith(_MARK)
    return False
