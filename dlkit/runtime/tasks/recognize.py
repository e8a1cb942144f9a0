"""Recognize: one handwritten digit an image in, the digit and its probability out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import BundleError, InputError
from dlkit.runtime.model import Model

DEFAULT_BUNDLE = "digits"
BATCH = 256


@dataclass(frozen=True)
class Prediction:
    """What an image shows.

    Attributes:
        label: the class, e.g. ``7``.
        probability: of that class, 0 to 1.
    """

    label: str
    probability: float


class Recognizer(Model[None, Prediction]):
    """A loaded bundle that recognizes digits."""

    def recognize(self, batch_of: Iterable[images.Image], batch: int = BATCH) -> list[Prediction]:
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
        best = int(output.argmax())
        probability = float(output[best])
        if not np.isfinite(probability):
            raise InputError("the model gave NaN; check it: dlkit verify")
        return Prediction(self.bundle.spec.labels[best], probability)


MODEL = Recognizer
