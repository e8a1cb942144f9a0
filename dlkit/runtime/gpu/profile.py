"""Profile: the shapes that an engine takes, and how any batch is cut to fit them."""

from __future__ import annotations

from dataclasses import dataclass

from dlkit.errors import BackendError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """Smallest, best and largest shape of an engine's input; the first axis counts images.

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

    def bucket(self, images: int) -> int:
        """The smallest bucket that holds so many images, which must be at most the largest."""
        return next(bucket for bucket in self.buckets if bucket >= images)

    def parts(self, images: int) -> list[tuple[int, int]]:
        """First and last-plus-one image of each part that a batch is split into, in order."""
        most = self.largest[0]
        return [(first, min(first + most, images)) for first in range(0, images, most)]

    def check(self, shape: Shape) -> None:
        """Refuse a batch's shape that no splitting and padding of the batch makes fit.

        Raises:
            BackendError: no image, another number of axes, or a height or width outside.
        """
        axes = zip(self.smallest[1:], shape[1:], self.largest[1:], strict=False)
        fits = len(shape) == len(self.smallest) and all(
            low <= axis <= high for low, axis, high in axes
        )
        if not fits:
            raise BackendError(
                f"images of {_size(shape)} are outside the engine's profile, which takes "
                f"{_size(self.smallest)} to {_size(self.largest)}",
                "Build an engine for them: dlkit export BUNDLE --trt with another --size",
            )
        if shape[0] < 1:
            raise BackendError("the batch has 0 images, the engine takes 1 or more")


def _size(shape: Shape) -> str:
    return "x".join(map(str, shape[1:])) or "no size"
