"""Arrays for a graph: from files, and whether they fit."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dlkit import npy
from dlkit.errors import InputError
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks._data import Feeds


@runtime_checkable
class PassesOver(Protocol):
    """A model that leaves out arrays of files which its graph does not take.

    Attributes:
        passed_over: their names, and how often.
    """

    passed_over: Counter[str]


def read_arrays(
    data: bytes, path: str, spec: ModelSpec, most: int | None = None
) -> tuple[Feeds, list[str]]:
    """The inputs of a graph from the bytes of a .npy or .npz file, and the names of its other
    arrays.

    Args:
        most: bytes that they may unpack to, where it is one file of many.

    Raises:
        InputError: it cannot be read, lacks an input, or unpacks to too much.
    """
    found = npy.load(io.BytesIO(data), path, most)
    if isinstance(found, np.ndarray):
        return {spec.input.name: found}, []
    if missing := [one.name for one in spec.inputs if one.name not in found]:
        there = ", ".join(found) or "none"
        raise InputError(f"{path}: has no array '{missing[0]}'; it has {there}")
    feeds = {one.name: found.pop(one.name) for one in spec.inputs}
    return feeds, list(found)


def check_arrays(spec: ModelSpec, feeds: Feeds) -> None:
    """Refuse arrays that are not what a graph takes.

    Raises:
        InputError: an input is missing or unknown, or has another dtype, rank or size.
    """
    if not isinstance(feeds, Mapping):
        raise InputError(f"the arrays are {type(feeds).__name__}, expected them by input's name")
    if others := [name for name, one in feeds.items() if not isinstance(one, np.ndarray)]:
        kind = type(feeds[others[0]]).__name__
        raise InputError(f"{others[0]} is {kind}, expected an array of numpy", "np.asarray(...)")
    if set(feeds) != {one.name for one in spec.inputs}:
        wanted = ", ".join(map(str, spec.inputs))
        raise InputError(f"has the arrays {', '.join(sorted(feeds)) or 'none'}, expected {wanted}")
    free: dict[str, int] = {}  # sizes of named axes, the same in all inputs
    for one in spec.inputs:
        array = feeds[one.name]
        if array.dtype != np.dtype(one.dtype) or array.ndim != len(one.shape):
            raise _other(array, one)
        for axis, size in zip(one.shape, array.shape, strict=True):
            if size != (free.setdefault(axis, size) if isinstance(axis, str) else axis):
                raise _other(
                    array, one, f"; {axis} is {free[axis]}" if isinstance(axis, str) else ""
                )


def _other(array: NDArray[Any], one: TensorSpec, known: str = "") -> InputError:
    fixed = isinstance(next(iter(one.shape), ""), int) and array.shape != one.shape
    samples = fixed and array.shape[1:] == one.shape[1:]
    mend = "For any number of samples export the graph with a free first axis" if samples else ""
    return InputError(f"{one.name} is {array.dtype} {array.shape}, expected {one}{known}", mend)
