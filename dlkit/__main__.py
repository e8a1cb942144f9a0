"""``dlkit`` and ``python -m dlkit``."""

from __future__ import annotations

import errno
import sys

# What the machine refuses is the user's to mend, not a bug.
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def main() -> None:
    """Run the command line; the one place where errors become a line and an exit code."""
    from dlkit.cli import app
    from dlkit.errors import DlkitError

    try:
        app()
    except DlkitError as error:
        sys.stderr.write(f"dlkit: {error}\n")
        sys.exit(2)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        where = error.filename or "the output"
        sys.stderr.write(f"dlkit: {where} cannot be written or read: {error.strerror}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("dlkit: interrupted; files that were written are whole\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
