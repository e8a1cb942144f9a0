"""``dlkit`` and ``python -m dlkit``."""

from __future__ import annotations

import os
import signal
import sys
import threading

# Imports and long lists of files make objects by the hundred thousand, and no garbage: looking for
# it after every 700, as Python does by default, takes a tenth of a command's start.
_NEW_OBJECTS = 50_000
_INTERRUPTED = 130
_SOON = 0.05  # seconds


def main() -> None:
    """Run the command line; the one place where errors become a line and an exit code."""
    with_handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if with_handler:  # else it is ignored, as in the background, and stays so
        signal.signal(signal.SIGINT, _leave_quietly)
    import gc

    gc.set_threshold(_NEW_OBJECTS)
    _open_streams()
    from dlkit.cli import app
    from dlkit.errors import DlkitError, refused

    try:
        if with_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.unraisablehook = _interrupt_again
        app()
    except DlkitError as error:
        _end(str(error), 2)
    except OSError as error:
        if (said := refused(error)) is None:
            raise
        _end(str(said), 2)
    except KeyboardInterrupt:
        _end("interrupted", _INTERRUPTED)


def _leave_quietly(*_: object) -> None:
    """Ctrl-C while the command line is being loaded: there is nothing to end, nothing to say."""
    os._exit(_INTERRUPTED)


def _interrupt_again(lost: sys.UnraisableHookArgs) -> None:
    """Ctrl-C came where Python lets no exception out, as in the callbacks of weak references that
    each import has: it comes once more."""
    if isinstance(lost.exc_value, KeyboardInterrupt):
        here = threading.get_ident()  # the main thread: no other one is interrupted
        threading.Timer(_SOON, signal.pthread_kill, (here, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


def _open_streams() -> None:
    """Give streams that were closed (``>&-``, as daemons do) somewhere to go.

    Else the next files that are opened get their numbers, and what C libraries print.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115


def _end(text: str, code: int) -> None:
    """Say it in one line, without what would steer a terminal, where anybody listens."""
    import contextlib

    from dlkit.printable import printable

    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"dlkit: {printable(text)}\n")
        sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
