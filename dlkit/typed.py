"""JSON values as dataclasses: each field of the type that it is declared with, or none at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

_T = TypeVar("_T")
_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
    Mapping: "an object",
}
_SHOWN = 60  # characters of a value that is refused


def from_plain(kind: type[_T], data: Any) -> _T:
    """What ``dataclasses.asdict`` made of a ``kind``, through JSON; defaults may lack.

    Raises:
        TypeError: a field is unknown or missing, or of another type; says which, and which type.
    """
    found: _T = _typed(kind, data, "")
    return found


def _typed(kind: Any, value: Any, where: str) -> Any:
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if is_dataclass(kind):
        return _made(kind, value, where)
    if kind is Any:
        return value
    if origin in (Mapping, tuple) and not isinstance(
        value, dict if origin is Mapping else (list, tuple)
    ):
        raise _refused(where, value, _WORDS[origin])
    if origin is Mapping:
        return {key: _typed(parts[1], one, f"{where}.{key}") for key, one in value.items()}
    if origin is tuple:
        each = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        if len(each) != len(value):
            raise _refused(where, value, f"a list of {len(each)}")
        return tuple(
            _typed(part, one, f"{where}[{place}]")
            for place, (part, one) in enumerate(zip(each, value, strict=True))
        )
    # True is an int to Python, and a whole number is one that JSON may write without its point
    known = [part for part in parts or (kind,) if part is not type(None)]
    if value is None and len(known) < len(parts):
        return None
    if not any(type(value) is one or (one is float and type(value) is int) for one in known):
        raise _refused(where, value, " or ".join(_WORDS[one] for one in known))
    return value


def _made(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _refused(where or "it", value, "an object")
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    if unknown := sorted(set(value) - set(hints)):
        raise TypeError(f"{prefix}{unknown[0]} is not known")
    for one in fields(kind):
        if one.name not in value and one.default is MISSING and one.default_factory is MISSING:
            raise TypeError(f"{prefix}{one.name} is missing")
    return kind(
        **{name: _typed(hints[name], one, f"{prefix}{name}") for name, one in value.items()}
    )


def _refused(where: str, value: Any, wanted: str) -> TypeError:
    return TypeError(f"{where} is {repr(value)[:_SHOWN]}, expected {wanted}")
