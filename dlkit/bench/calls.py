"""What goes into one call that is measured, and what it counts for."""

from __future__ import annotations

from collections.abc import Mapping

from dlkit.images import SUFFIXES
from dlkit.spec import ModelSpec
from dlkit.tasks import TASKS, Feeds
from dlkit.tasks.tensors import random_feeds

_LENGTH = 128  # of a free axis that is no height or width: a sentence, a short window


def takes_images(spec: ModelSpec) -> bool:
    """Whether the task's files are images."""
    return TASKS.load(spec.task).model.suffixes == SUFFIXES


def gives_images(spec: ModelSpec) -> bool:
    """Whether answers are image files, which have to be encoded."""
    return takes_images(spec) and spec.output.dtype == "uint8"


def input_shapes(
    spec: ModelSpec, batch: int, size: tuple[int, int], axes: Mapping[str, int] | None = None
) -> dict[str, tuple[int, ...]]:
    """Shape of each input in a call with ``batch`` samples.

    Two free axes that no other input has are a height and a width and become ``size``, padded to
    what the graph takes; other free axes are ``axes``, else of a usual length. Where the graph's
    batch is fixed, the session runs others in parts.
    """
    free = dict(axes or {})
    for one in spec.inputs:
        if one.shape and isinstance(one.shape[0], str):
            free.setdefault(one.shape[0], batch)
    sides = [_up(side, spec.multiple_of) for side in size]
    for one in spec.inputs:
        names = [axis for axis in one.shape[1:] if isinstance(axis, str)]
        others = {axis for other in spec.inputs if other is not one for axis in other.shape}
        wanted = sides if len(names) == len(sides) and not others & set(names) else ()
        for place, name in enumerate(names):
            free.setdefault(name, wanted[place] if wanted else _up(_LENGTH, spec.multiple_of))
    first = () if spec.fixed_batch is None else (batch,)
    return {
        one.name: (
            *first,
            *(free[axis] if isinstance(axis, str) else axis for axis in one.shape[len(first) :]),
        )
        for one in spec.inputs
    }


def samples(spec: ModelSpec, batch: int) -> int:
    """Samples in a call with ``batch``; 1 where the first axes count nothing, and calls count."""
    return batch if _counted(spec) else 1


def unit(spec: ModelSpec) -> str:
    """What one is called: ``image``, ``sample`` or ``call``."""
    return "image" if takes_images(spec) else "sample" if _counted(spec) else "call"


def feeds(
    spec: ModelSpec, batch: int, size: tuple[int, int], axes: Mapping[str, int] | None = None
) -> Feeds:
    """Random inputs of one call; speed depends on their shapes, not on what they show."""
    return random_feeds(spec, input_shapes(spec, batch, size, axes), 0)


def _counted(spec: ModelSpec) -> bool:
    """Whether there is one first axis that counts samples."""
    firsts = {one.shape[0] for one in spec.inputs if one.shape and isinstance(one.shape[0], str)}
    return len(firsts) == 1 or spec.fixed_batch is not None


def _up(size: int, multiple_of: int) -> int:
    return size + -size % multiple_of
