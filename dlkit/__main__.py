"""``dlkit`` and ``python -m dlkit``."""

from __future__ import annotations

import contextlib
import errno
import gc
import sys
from pathlib import Path

# Imports and long lists of files make objects by the hundred thousand, and no garbage: looking for
# it after every 700, as Python does by default, takes a tenth of a command's start.
_NEW_OBJECTS = 50_000
# What the machine refuses is the user's to mend, not a bug.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}


def main() -> None:
    """Run the command line; the one place where errors become a line and an exit code."""
    gc.set_threshold(_NEW_OBJECTS)
    from dlkit.cli import app
    from dlkit.errors import DlkitError

    try:
        app()
    except DlkitError as error:
        _end(f"dlkit: {error}", 2)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = Path(str(error.filename or "the output"))
        if where.name.startswith(".dlkit-"):  # a file on its way: the place is what counts
            where = where.parent
        _end(f"dlkit: {where} cannot be written or read: {error.strerror}", 2)
    except KeyboardInterrupt:
        _end("dlkit: interrupted; files that were written are whole", 130)


def _end(text: str, code: int) -> None:
    """Say it in one line, without what would steer a terminal, where anybody listens."""
    line = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
