"""What callers in Python give, of the type that is meant, or one error that says what it is."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dlkit.errors import UsageError

_SHOWN = 60  # characters of a value that is refused


def path_of(value: Any, what: str) -> Path:
    """The path that a text or a path is.

    Raises:
        UsageError: it is neither.
    """
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise _refused(value, what, "a name or path, as text or pathlib.Path")
    return Path(found)


def name_of(value: Any, what: str) -> str:
    """A text.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, str):
        raise _refused(value, what, "a name, as text")
    return value


def whole_of(value: Any, what: str, least: int = 1) -> int:
    """A whole number, Python's or numpy's.

    Raises:
        UsageError: it is none, or smaller.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise _refused(value, what, f"a whole number, {least} or more")
    return number


def seconds_of(value: Any, what: str) -> float:
    """A time above 0.

    Raises:
        UsageError: it is none, or has no end.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise _refused(value, what, "a number above 0")
    return number


def number_of(value: Any, what: str, least: float) -> float:
    """A number.

    Raises:
        UsageError: it is none, or smaller.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not number >= least:
        raise _refused(value, what, f"a number, {least} or more")
    return number


def several(values: Any) -> list[Any]:
    """Names or paths; a single one, or an object of its own kind, is a list of it."""
    if isinstance(values, str | os.PathLike) or not isinstance(values, Iterable):
        return [values]
    return list(values)


def _refused(value: Any, what: str, wanted: str) -> UsageError:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return UsageError(f"{what} is {shown} ({type(value).__name__}), expected {wanted}")
