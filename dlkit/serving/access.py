"""A line of JSON for each request."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import json
import secrets
import sys
from pathlib import Path
from typing import IO, Any

_EVERY = 0.25  # seconds between two writings: a call of the system for each line would cost more
_MOST = 10_000  # lines that are kept where they cannot be written
_LONGEST = 128  # characters of an id that a client chose


class AccessLog:
    """Lines that are written some times a second; a full disk costs lines, and no request.

    Attributes:
        lost: lines that could not be written.
    """

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self.lost = 0

    def line(self, **values: Any) -> None:
        """One request."""
        if self._file is None:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        if len(self._lines) >= _MOST:
            self.lost += 1
            return
        self._lines.append(json.dumps({"time": now, **values}))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self.flush)

    def flush(self) -> None:
        """Write what there is."""
        self._timer = None
        lines, self._lines = self._lines, []
        if self._file is None or not lines:
            return
        try:
            self._file.write("\n".join(lines) + "\n")
            self._file.flush()
        except (OSError, ValueError):  # a full disk; a pipe that nobody reads
            self.lost += len(lines)

    def close(self) -> None:
        """Write what there is, and let the file go."""
        if self._timer is not None:
            self._timer.cancel()
        self.flush()
        if self._file is not None and self._file is not sys.stdout:
            with contextlib.suppress(OSError):  # a full disk, again
                self._file.close()


class RequestIds:
    """Ids of requests: the client's own where it is one, else a new one."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._count = itertools.count(1)

    def of(self, given: str | None) -> str:
        """The id of a request; what a client sends must not steer a terminal or a header."""
        if given and len(given) <= _LONGEST and given.isascii() and given.isprintable():
            return given
        return f"{self._prefix}-{next(self._count):x}"


def open_log(where: str) -> IO[str] | None:
    """The file of a log: ``-`` is standard output, ``none`` no log at all.

    Raises:
        OSError: it cannot be opened.
    """
    if where == "none":
        return None
    return sys.stdout if where == "-" else Path(where).open("a", encoding="utf-8")
