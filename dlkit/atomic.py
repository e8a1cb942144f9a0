"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PART = ".part"  # ending of a file that is still being written


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Give a path beside ``target`` to write to; rename it to ``target`` when the block ends well.

    When the block raises, or the process dies, ``target`` is what it was before.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}{PART}")
    try:
        yield part
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Give a new folder to fill; it takes the place of ``target`` when the block ends well.

    A folder cannot be replaced in one step, so for an instant ``target`` may be missing; it is
    never half of the old and half of the new.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}{PART}")
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    try:
        part.mkdir()
        yield part
        if target.exists():
            target.rename(old)
        part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write a whole file, or leave what was there."""
    with atomic_path(target) as part:
        part.write_bytes(data)
