"""Parameters of the simulator in a file, and the simulator that ``--data`` names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from dlkit.errors import InputError, UsageError
from dlkit.mmwave import DEFAULTS
from dlkit.mmwave.parameters import Parameters

SIMULATED = "simulated"

_MOST = 4.0  # no number is larger than so many times the largest usual one of its field, or than 1
# What the simulator divides by: not less than 1 / _MOST of the least usual number of the field.
_DIVISORS = {"grey_deviation", "figure_height", "rim_depth", "object_paint_span"}
_CURVES = {"curve_raw", "curve_clean"}
_WEIGHTS = {"object_counts", "pose_weights"}
_MEND = "Give a file as dlkit simulate fit writes it"


def to_json(parameters: Parameters) -> str:
    """The fields that are not as in ``DEFAULTS``, as JSON text."""
    usual = asdict(DEFAULTS)
    changed = {name: value for name, value in asdict(parameters).items() if value != usual[name]}
    return json.dumps({"parameters": changed}, indent=1) + "\n"


def load(path: Path) -> Parameters:
    """Read what ``to_json`` wrote.

    Raises:
        InputError: it cannot be read, or has a field that the simulator does not know, or a value
            that it cannot take.
    """
    try:
        if not path.is_file():  # a pipe or a device may have no end
            raise OSError("there is no such file")
        values = json.loads(path.read_bytes())["parameters"]
        given = dict(values.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: no parameters of the simulator ({type(error).__name__}: {error})", _MEND
        ) from error
    known = {one.name for one in fields(Parameters)}
    for name, value in given.items():
        if name not in known:
            raise InputError(
                f"{path}: '{name[:40]}' is no parameter of the simulator, expected fields of it",
                _MEND,
            )
        if wanted := _wanted(name, value):
            raise InputError(f"{path}: {name} is {str(value)[:80]}, expected {wanted}", _MEND)
    changes: dict[str, Any] = {name: _frozen(value) for name, value in given.items()}
    return replace(DEFAULTS, **changes)


def simulator(data: str) -> Parameters | None:
    """The simulator that ``data`` names: ``simulated``, or ``simulated:FILE`` with parameters that
    were fitted; None where it names a folder.

    Raises:
        UsageError: there is a colon and no file's name.
        InputError: the file cannot be used.
    """
    name, colon, file = data.partition(":")
    if name != SIMULATED:
        return None
    if not colon:
        return DEFAULTS
    if not file.strip():
        raise UsageError(
            f"data is '{data}', without the name of a file",
            f"Say {SIMULATED}, or {SIMULATED}:FILE with a file of dlkit simulate fit",
        )
    return load(Path(file))


def _wanted(name: str, value: object) -> str:
    """What the simulator expects of a field instead of this value; empty where it takes it."""
    usual = getattr(DEFAULTS, name)
    if not _alike(usual, value):
        return f"finite numbers as in {json.dumps(usual)}"
    least, most = _bounds(name)
    numbers = list(_numbers(value))
    if not all(least <= one <= most for one in numbers):
        return f"{least:g} to {most:g}"
    if name in _WEIGHTS:
        return "" if sum(numbers) > 0 else "a weight above 0"
    if name in _CURVES:
        rises = all(one < other for one, other in pairwise(numbers))
        return "" if rises else "values that rise"
    if len(numbers) == 2 and numbers[0] > numbers[1]:
        return "the lowest value, then the highest"
    return ""


def _bounds(name: str) -> tuple[float, float]:
    if name.endswith("_probability"):
        return 0.0, 1.0
    usual = list(_numbers(getattr(DEFAULTS, name)))
    most = max(1.0, _MOST * max(map(abs, usual)))
    if name in _DIVISORS:
        return min(usual) / _MOST, most
    return (0.0 if min(usual) >= 0 else -most), most


def _alike(usual: object, value: object) -> bool:
    if isinstance(usual, tuple) and isinstance(value, list):
        same = len(usual) == len(value)
        return same and all(_alike(one, other) for one, other in zip(usual, value, strict=True))
    if isinstance(usual, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(float(str(value)))
    return usual == value


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _numbers(one)


def _frozen(value: object) -> object:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
