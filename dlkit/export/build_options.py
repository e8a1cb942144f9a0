"""What a TensorRT engine is built for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from dlkit.bundle import Bundle
from dlkit.bundle.engine import Range, Shape
from dlkit.errors import UsageError
from dlkit.images import SUFFIXES
from dlkit.spec import TensorSpec
from dlkit.tasks import TASKS

Size: TypeAlias = tuple[int, int]
Value = TypeVar("Value")

SIZES: tuple[Size, Size, Size] = ((64, 64), (688, 384), (1376, 768))


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is built for.

    Attributes:
        batch: smallest, best and largest number of samples, where the graph leaves its first axis
            free; by the task when None.
        size: smallest, best and largest height and width, of inputs that leave two axes free behind
            their first; rounded up to what the network takes. When None, ``SIZES`` for tasks of
            images, and nothing for others.
        axes: smallest, best and largest size of other free axes, by their names in the spec. It
            goes before ``batch`` and ``size``.
        flavor: ``tensorrt`` or ``tensorrt_rtx``; None takes the first that is installed.
        compute: compute capabilities to build for, e.g. ``("8.6", "8.9")``; TensorRT for RTX only.
            Empty: its default set (8.0, 8.6, 8.9, 12.0 and later), or this machine's GPU.
        hardware_compatible: ``tensorrt`` only: run on every GPU from Ampere on, a little slower.
        version_compatible: ``tensorrt`` only: run with later versions of the same major version.
        rebuild: build even if the same engine is there.
        share: least share of the multiply-adds in the precision asked for, 0 to 1; by the
            precision when None.
    """

    batch: tuple[int, int, int] | None = None
    size: tuple[Size, Size, Size] | None = None
    axes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    flavor: str | None = None
    compute: tuple[str, ...] = ()
    hardware_compatible: bool = False
    version_compatible: bool = False
    rebuild: bool = False
    share: float | None = None


def read_profile(text: str) -> tuple[int, int, int]:
    """Batch sizes from ``MIN:OPT:MAX``, or from one number.

    Raises:
        UsageError: it is something else.
    """
    return _three(text, "batch", "1:16:64", int)


def read_sizes(text: str) -> tuple[Size, Size, Size]:
    """Heights and widths from ``MIN:OPT:MAX``, each ``HEIGHTxWIDTH``, or from one of them.

    Raises:
        UsageError: it is something else.
    """

    def size(part: str) -> Size:
        height, width = part.split("x")
        return int(height), int(width)

    return _three(text, "size", "64x64:688x384:1376x768", size)


def read_axes(texts: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Ranges of free axes by their names, from ``NAME=MIN:OPT:MAX`` or ``NAME=SIZE`` each.

    Raises:
        UsageError: it is something else.
    """
    found = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        if not name:
            raise UsageError(f"axis is '{text}', expected NAME=MIN:OPT:MAX, e.g. length=1:128:512")
        found[name] = _three(sizes, f"axis {name}", "1:128:512", int)
    return found


def _three(
    text: str, what: str, example: str, read: Callable[[str], Value]
) -> tuple[Value, Value, Value]:
    parts = text.split(":")
    try:
        values = [read(part) for part in (parts * 3 if len(parts) == 1 else parts)]
        smallest, best, largest = values
    except ValueError as error:
        raise UsageError(f"{what} is '{text}', expected MIN:OPT:MAX, e.g. {example}") from error
    return smallest, best, largest


def profile_shapes(bundle: Bundle, options: BuildOptions) -> dict[str, Range]:
    """Smallest, best and largest shape of each input, by its name; of fixed ones all the same.

    Raises:
        UsageError: options that cannot be, or free axes without a range.
    """
    spec = bundle.spec
    ranges: dict[str, tuple[int, int, int]] = {}
    for one in spec.inputs:
        free = [axis for axis in one.shape[1:] if isinstance(axis, str)]
        if len(free) == 2 and (size := _sizes(bundle, options)) is not None:
            for side, axis in enumerate(free):
                low, best, high = (_up(sizes[side], spec.multiple_of) for sizes in size)
                ranges.setdefault(axis, (low, best, high))
    for one in spec.inputs:
        if one.shape and isinstance(one.shape[0], str):
            ranges[one.shape[0]] = options.batch or TASKS.load(spec.task).engine_batch
    free_axes = {axis for one in spec.inputs for axis in one.shape if isinstance(axis, str)}
    if strangers := sorted(set(options.axes) - free_axes):
        raise UsageError(
            f"{spec.name} has no free axis called {', '.join(strangers)}",
            f"Its free axes are: {', '.join(sorted(free_axes)) or 'none'}",
        )
    ranges |= options.axes
    if missing := sorted(free_axes - set(ranges)):
        inputs = ", ".join(map(str, spec.inputs))
        raise UsageError(
            f"{spec.name} has free axes without a range: {', '.join(missing)} ({inputs})",
            f"Give each: {' '.join(f'--axis {axis}=1:128:512' for axis in missing)}",
        )
    for axis, (low, best, high) in ranges.items():
        if not 1 <= low <= best <= high:
            raise UsageError(f"{axis} is {low}:{best}:{high}, expected MIN:OPT:MAX, rising")

    def shape(one: TensorSpec, place: int) -> Shape:
        return tuple(axis if isinstance(axis, int) else ranges[axis][place] for axis in one.shape)

    return {one.name: (shape(one, 0), shape(one, 1), shape(one, 2)) for one in spec.inputs}


def _sizes(bundle: Bundle, options: BuildOptions) -> tuple[Size, Size, Size] | None:
    images = TASKS.load(bundle.spec.task).model.suffixes == SUFFIXES
    return options.size or (SIZES if images else None)


def _up(size: int, multiple_of: int) -> int:
    return -(-size // multiple_of) * multiple_of
