"""Sizes as people write them."""

from __future__ import annotations

_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


def parse_bytes(text: str, option: str) -> int:
    """``64MB`` as a number: units are powers of 1024, as of other servers.

    Raises:
        UsageError: it is no size.
    """
    from dlkit.errors import UsageError

    digits = text.rstrip("BKMGbkmg ")
    unit = text[len(digits) :].strip().upper()
    if not digits.isdecimal() or int(digits) < 1 or unit not in _UNITS:
        raise UsageError(f"{option} is '{text}', expected a size such as 64MB")
    return int(digits) * _UNITS[unit]
