"""What commands tell people, on standard error: nothing of it may end the work."""

from __future__ import annotations

import io
import sys
from typing import IO, TYPE_CHECKING, cast

from dlkit.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


class _Forgiving(io.TextIOBase):
    """Standard error, where a full disk, a broken pipe or no terminal at all is no error."""

    def write(self, text: str) -> int:
        try:
            if sys.stderr is not None:
                # names of files may hold bytes that are no text, or that steer a terminal
                encoding = sys.stderr.encoding or "utf-8"
                sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except (OSError, ValueError):
            pass
        return len(text)

    def flush(self) -> None:
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
        except (OSError, ValueError):
            pass

    def isatty(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    def fileno(self) -> int:
        if sys.stderr is None:
            raise OSError("there is no standard error")
        return sys.stderr.fileno()


def notes(quiet: bool = False) -> Console:
    """A console on standard error."""
    from rich.console import Console

    return Console(file=cast(IO[str], _Forgiving()), quiet=quiet)


def plain(text: str) -> str:
    """A text from outside, e.g. a file's name, without what steers a terminal or styles it."""
    from rich.markup import escape

    return escape(printable(text))
