"""What must be on the disk before it is said to be done."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def to_disk(path: Path) -> None:
    """Wait until a file's content is there."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def name_to_disk(path: Path) -> None:
    """Wait until a name is there: it is its folder's content."""
    if os.name == "posix":  # Windows opens no folders
        with contextlib.suppress(OSError):  # of file systems that cannot
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
