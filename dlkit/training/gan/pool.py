"""A pool of generated images, so that a critic does not forget what it was fooled by."""

from __future__ import annotations

import torch
from torch import Tensor


class ImagePool:
    """The last images, some of which are shown again (Shrivastava et al., arXiv 1612.07828).

    Attributes:
        images: float32 (C, H, W) each, at most ``size``.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def __call__(self, fake: Tensor) -> Tensor:
        """Some of a batch, each with a chance of one half exchanged for an older one.

        Until the pool is full, each image is kept and shown. What is exchanged depends on torch's
        random state.

        Args:
            fake: float32 (N, C, H, W), detached; gives the same.
        """
        if not self.size:
            return fake
        shown = []
        for image in fake:
            if len(self.images) < self.size:
                self.images.append(image.clone())
                shown.append(image)
            elif float(torch.rand(())) < 0.5:
                place = int(torch.randint(self.size, ()))
                shown.append(self.images[place])
                self.images[place] = image.clone()
            else:
                shown.append(image)
        return torch.stack(shown)
