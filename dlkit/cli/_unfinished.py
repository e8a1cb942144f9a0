"""Folders that are filled piece by piece: the same command goes on where it was interrupted."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_MARKER = ".dlkit-unfinished.json"  # there until all is done


@contextmanager
def filling(
    out: Path, command: Sequence[str], options: Sequence[str], console: Console
) -> Iterator[None]:
    """Begin to fill a new folder, or go on with one that the same command began.

    Args:
        command: its words up to the folder's name.
        options: all that decides what is written, as words.

    Raises:
        UsageError: the folder holds something else.
        MachineError: it cannot be written to.
    """
    from dlkit import __version__
    from dlkit.atomic import check_writable, write_bytes
    from dlkit.cli._console import plain
    from dlkit.errors import UsageError

    marker = out / _MARKER
    mine = {"dlkit": __version__, "command": [*command], "options": [*options]}
    if not marker.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"{out} exists and is not empty", "Choose another folder")
    elif (began := _read(marker)) != mine:
        version, words = began.get("dlkit"), (began.get("command"), began.get("options"))
        if version != __version__ or not all(isinstance(one, list) for one in words):
            raise UsageError(f"{out} was begun by another dlkit", "Choose another folder")
        line = shlex.join(map(str, [*began["command"], str(out), *began["options"]]))
        raise UsageError(f"{out} was begun by another command", f"Go on with: {line}")
    check_writable(out)
    write_bytes(marker, json.dumps(mine).encode())
    try:
        yield
    except KeyboardInterrupt:
        line = f"what is in {plain(str(out))} is whole; the same command goes on"
        console.print(line, highlight=False, soft_wrap=True)
        raise
    marker.unlink(missing_ok=True)


def _read(marker: Path) -> dict[str, Any]:
    try:
        found = json.loads(marker.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
