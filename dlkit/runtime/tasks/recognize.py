"""Recognize: handwritten digits in, one an image or many on a page; what they are out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.errors import BundleError, DlkitError, InputError
from dlkit.runtime.model import Model
from dlkit.runtime.pages import reading
from dlkit.runtime.pages.page import Page
from dlkit.runtime.session import Opened

DEFAULT_BUNDLE = "digits"
BATCH = {"cpu": 64, "cuda": 1024}  # on a CPU more leaves the cache: 256 takes half as long again


class Prediction(NamedTuple):
    """What an image shows.

    Attributes:
        label: the class, e.g. ``7``.
        probability: of that class, 0 to 1.
    """

    label: str
    probability: float


class Recognizer(Model[None, Prediction]):
    """A loaded bundle that recognizes digits."""

    def __init__(self, bundle: Bundle, opened: Opened) -> None:
        super().__init__(bundle, opened)
        height, width = bundle.spec.input.shape[1:]
        if isinstance(height, str) or isinstance(width, str):
            raise BundleError(f"{bundle.path} recognizes images of any size; expected a fixed")
        self._size = (height, width)

    def recognize(self, batch_of: Iterable[images.Image], batch: int = 256) -> list[Prediction]:
        """Recognize images in memory.

        Args:
            batch_of: uint8 or uint16 arrays, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, one digit
                each: 28 x 28 as in MNIST, which go to the network as they are; or of any other
                size, anywhere in the image, dark or bright.
            batch: images that are run together.

        Returns:
            A prediction for each image, in the same order.

        Raises:
            InputError: something is no image.
        """
        return self.answers(batch_of, batch)

    def read(self, image: images.Image, mode: str = "auto", batch: int = 256) -> Page:
        """Read an image with any number of digits.

        Args:
            image: uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, upright.
            mode: ``page`` finds lines of digits, ``single`` one digit, ``auto`` either.
            batch: digits that are run together.

        Returns:
            digits by line, in reading order, with boxes in the image's pixels; no line where
            there is no digit.

        Raises:
            InputError: it is no image.
            UsageError: there is no such mode.
        """
        images.check(image)
        found = reading.read(image, mode, self._size)
        answers = self.answers(found.squares, batch)
        return found.page(answers)

    def decode(self, data: bytes, path: str) -> images.Image:
        """An image, upright, from the bytes of its file."""
        return images.decode(data, path, upright=True)

    def prepare(self, image: images.Image) -> tuple[images.Pixels, None]:
        """The digit as the graph takes it: what has its size as it is, else found in the image."""
        if image.shape[:2] != self._size:
            return reading.read(image, "single", self._size).squares[0], None
        return images.grey(image), None

    def whole(self, mode: str) -> Callable[[images.Image], reading.Reading | None]:
        """What tells which images are to be read in that mode; the others are digits already."""
        size = self._size

        def read(image: images.Image) -> reading.Reading | None:
            if mode != "page" and image.shape[:2] == size:
                return None
            return reading.read(image, mode, size)

        return read

    def finish(self, output: NDArray[Any], note: None) -> Prediction:
        """The most probable class."""
        (answer,) = self.finish_all(output[None], [note])
        if isinstance(answer, DlkitError):
            raise answer
        return answer

    def finish_all(
        self, outputs: NDArray[Any], notes: Sequence[None]
    ) -> Sequence[Prediction | DlkitError]:
        """The most probable class of each row."""
        best = outputs.argmax(axis=1)
        probabilities = outputs[np.arange(len(outputs)), best]
        labels = self.bundle.spec.labels
        return [
            Prediction(labels[index], probability) if probability == probability else _nan()
            for index, probability in zip(best.tolist(), probabilities.tolist(), strict=True)
        ]


def _nan() -> InputError:
    return InputError("the model gave NaN; check it: dlkit verify")


MODEL = Recognizer
