"""What a TensorRT engine is built for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from dlkit.bundle import Bundle
from dlkit.errors import UsageError
from dlkit.tasks import TASKS

Size: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]
Value = TypeVar("Value")


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is built for.

    Attributes:
        batch: smallest, best and largest number of images; by the task when None.
        size: smallest, best and largest height and width, where the graph leaves them free; rounded
            up to what the network takes.
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
    size: tuple[Size, Size, Size] = ((64, 64), (688, 384), (1376, 768))
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


def _up(size: int, multiple_of: int) -> int:
    return -(-size // multiple_of) * multiple_of


def profile_shapes(bundle: Bundle, options: BuildOptions) -> tuple[Shape, Shape, Shape]:
    """Smallest, best and largest shape of a bundle's one input.

    Raises:
        UsageError: options that cannot be, or more free axes than a height and a width.
    """
    spec = bundle.spec
    free = [axis for axis in spec.input.shape[1:] if isinstance(axis, str)]
    if len(free) > 2:
        raise UsageError(
            f"{spec.input} leaves {len(free)} axes free, expected a height and a width"
        )
    batch = options.batch or TASKS.load(spec.task).engine_batch
    if not 1 <= batch[0] <= batch[1] <= batch[2]:
        raise UsageError(f"batch is {':'.join(map(str, batch))}, expected MIN:OPT:MAX, rising")

    def shape(images: int, size: Size) -> Shape:
        sizes = iter(size)
        rounded = [
            axis if isinstance(axis, int) else _up(next(sizes), spec.multiple_of)
            for axis in spec.input.shape[1:]
        ]
        return (images, *rounded)

    smallest, best, largest = map(shape, batch, options.size)
    for low, high in ((smallest, best), (best, largest)):
        if any(one > other for one, other in zip(low, high, strict=True)):
            raise UsageError(f"the profile {smallest}, {best}, {largest} does not rise")
    return smallest, best, largest
