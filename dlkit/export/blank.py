"""Small inputs of zeros: to see what shapes tensors have when a graph runs."""

from __future__ import annotations

import numpy as np

from dlkit.spec import ModelSpec
from dlkit.tasks import Feeds

_SIZE = 96  # of a free axis, about


def blank(spec: ModelSpec) -> Feeds:
    """One sample for every input, zeros; free axes but the first have about 96."""
    size = -(-_SIZE // spec.multiple_of) * spec.multiple_of

    def shape(axes: tuple[int | str, ...]) -> list[int]:
        free = [(1 if place == 0 else size) if isinstance(axis, str) else axis
                for place, axis in enumerate(axes)]  # fmt: skip
        return [int(axis) for axis in free]

    return {one.name: np.zeros(shape(one.shape), np.dtype(one.dtype)) for one in spec.inputs}
