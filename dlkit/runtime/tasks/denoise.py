"""Denoise: noisy passive millimetre-wave scans in, cleaned images out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import InputError
from dlkit.runtime import strips
from dlkit.runtime.model import Model

DEFAULT_BUNDLE = "mmwave"
BATCH = {"cpu": 1, "cuda": 8}  # one scan already fills a processor


class Denoiser(Model[images.Image, images.Image]):
    """A loaded bundle that cleans images."""

    def denoise(self, batch_of: Iterable[images.Image], batch: int = 4) -> list[images.Image]:
        """Clean images in memory.

        Args:
            batch_of: uint8 or uint16 arrays, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, of any
                and of different sizes, full range (0 to 255 or 0 to 65535).
            batch: images of equal padded size that are run together.

        Returns:
            Cleaned images in the same order, each in the size, dtype and channels of its input
            (the network computes on 8-bit grey; alpha is kept).

        Raises:
            InputError: something is no image.
        """
        return self.answers(batch_of, batch)

    def prepare(self, image: images.Image) -> tuple[images.Pixels, images.Image]:
        """Grey, padded to the sizes that the network takes."""
        return images.pad(images.grey(image), self.bundle.spec.multiple_of), image

    def infer(self, call: strips.Call, batch: NDArray[Any]) -> NDArray[Any]:
        """A large scan in strips, where the network takes any width."""
        if not isinstance(self.bundle.spec.input.shape[2], str):
            return call(batch)
        return strips.in_strips(call, batch, self.bundle.spec.multiple_of)

    def finish(self, output: NDArray[Any], note: images.Image) -> images.Image:
        """Cropped back, in the depth and channels that came."""
        if output.dtype != np.uint8:
            raise InputError(f"the model gave {output.dtype} pixels, expected uint8")
        return images.like(note, images.crop(output, *note.shape[:2]))


MODEL = Denoiser
