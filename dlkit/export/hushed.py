"""What torch's exporter writes on stderr, kept from the user, who gets one error."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

_LOGGERS = ("torch.onnx", "torch.export", "torch.fx.experimental.symbolic_shapes")


class _Others(io.TextIOBase):
    """A stream for all threads but the one that made it: a spinner goes on."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() != self._thread:
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return bool(self._stream.isatty())


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """No warnings of torch's exporter, and none of the graphs that it prints where it fails."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stderr(_Others(sys.stderr)):
        warnings.simplefilter("ignore")  # the exporter's own deprecations are not the user's
        yield
