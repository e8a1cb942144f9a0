"""Profile: the shapes that an engine takes, and how any batch is cut to fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlkit.errors import BackendError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """Smallest, best and largest shape of an input; the first axis may count samples.

    Attributes:
        smallest: e.g. ``(1, 64, 64)``.
        best: what the engine was tuned for.
        largest: e.g. ``(64, 1376, 768)``.
    """

    smallest: Shape
    best: Shape
    largest: Shape

    def __str__(self) -> str:
        return " to ".join("x".join(map(str, shape)) for shape in (self.smallest, self.largest))

    @property
    def buckets(self) -> tuple[int, ...]:
        """Batches that are run: powers of two, and the profile's own ends."""
        low, high = self.smallest[0], self.largest[0]
        powers = (1 << power for power in range(high.bit_length()))
        return tuple(sorted({low, high, *(power for power in powers if low < power < high)}))

    def bucket(self, samples: int) -> int:
        """The smallest bucket that holds so many samples, which must be at most the largest."""
        return next(bucket for bucket in self.buckets if bucket >= samples)

    def parts(self, samples: int) -> list[tuple[int, int]]:
        """First and last-plus-one sample of each part that a batch is split into, in order."""
        most = self.largest[0]
        return [(first, min(first + most, samples)) for first in range(0, samples, most)]

    def misfit(self, shape: Shape, batched: bool) -> bool:
        """Whether a shape does not fit, also when its samples are split and padded: ``batched``."""
        skip = 1 if batched else 0
        axes = zip(self.smallest[skip:], shape[skip:], self.largest[skip:], strict=False)
        return len(shape) != len(self.smallest) or not all(
            low <= axis <= high for low, axis, high in axes
        )


@dataclass(frozen=True)
class Profiles:
    """What an engine takes.

    Attributes:
        inputs: profile of each input by its name, in the graph's order.
        batched: the first axis of every input and output counts the same samples, so that a call
            of any number can be split and padded. Else calls are run as they are.
    """

    inputs: Mapping[str, Profile]
    batched: bool

    @property
    def first(self) -> Profile:
        """The first input's, which counts samples for all when ``batched``."""
        return next(iter(self.inputs.values()))

    def parts(self, shapes: Sequence[Shape]) -> list[tuple[int, int]]:
        """First and last-plus-one sample of each part that a call is split into, in order."""
        return self.first.parts(shapes[0][0])

    def padded(self, shapes: Sequence[Shape]) -> tuple[Shape, ...]:
        """The shapes that a part of a call is run with."""
        if not self.batched:
            return tuple(shapes)
        bucket = self.first.bucket(shapes[0][0])
        return tuple((bucket, *shape[1:]) for shape in shapes)

    def check(self, shapes: Sequence[Shape]) -> None:
        """Refuse the shapes of a call, in the order of ``inputs``.

        Raises:
            BackendError: no sample or different numbers of them; another number of axes; or a size
                outside.
        """
        skip = 1 if self.batched else 0
        for (name, profile), shape in zip(self.inputs.items(), shapes, strict=True):
            if profile.misfit(shape, self.batched):
                least, most = profile.smallest[skip:], profile.largest[skip:]
                raise BackendError(
                    f"{name} of {_size(shape[skip:])} is outside the engine's profile, which takes "
                    f"{_size(least)} to {_size(most)}",
                    "Build an engine for it: dlkit export BUNDLE --trt with another --size or "
                    "--axis",
                )
        counts = {shape[0] for shape in shapes} if self.batched else {1}
        if len(counts) > 1:
            named = ", ".join(f"{n} {s[0]}" for n, s in zip(self.inputs, shapes, strict=True))
            raise BackendError(f"the inputs of one call have different numbers of samples: {named}")
        if 0 in counts:
            raise BackendError("the call has 0 samples, the engine takes 1 or more")


def _size(axes: Shape) -> str:
    return "x".join(map(str, axes)) or "no size"
