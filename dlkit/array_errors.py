"""What goes wrong with array files: numpy, zipfile and gzip raise many things for damaged ones."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

from dlkit.errors import InputError

# For files that are cut, damaged, encrypted, packed in another way, or something else altogether.
DAMAGED = (
    OSError, ValueError, EOFError, KeyError, TypeError, IndexError, OverflowError, SyntaxError,
    MemoryError, RuntimeError, NotImplementedError, RecursionError, tokenize.TokenError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_LONG = 200


def unreadable(path: object, error: BaseException) -> InputError:
    """The error of a file, in one line."""
    if isinstance(error, InputError):
        return error
    line = str(error).strip().partition("\n")[0][:_LONG] or type(error).__name__
    return InputError(f"{path}: cannot be read as an array ({line})")
