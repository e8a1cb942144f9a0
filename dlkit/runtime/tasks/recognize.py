"""Recognize: one handwritten digit an image in, the digit and its probability out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import BundleError, DlkitError, InputError
from dlkit.runtime.model import Model

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

    def recognize(self, batch_of: Iterable[images.Image], batch: int = 256) -> list[Prediction]:
        """Recognize images in memory.

        Args:
            batch_of: uint8 or uint16 arrays, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, one bright
                digit on black each, as in MNIST; other sizes than 28 x 28 are scaled to fit.
            batch: images that are run together.

        Returns:
            A prediction for each image, in the same order.

        Raises:
            InputError: something is no image.
        """
        return self.answers(batch_of, batch)

    def prepare(self, image: images.Image) -> tuple[images.Pixels, None]:
        """Grey, in the size that the graph takes."""
        height, width = self.bundle.spec.input.shape[1:]
        if isinstance(height, str) or isinstance(width, str):
            raise BundleError(f"{self.bundle.path} recognizes images of any size; expected a fixed")
        return images.fit(images.grey(image), height, width), None

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
