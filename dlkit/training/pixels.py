"""Pixels in, answer out: the preprocessing that belongs to the graph.

Training, evaluation and the exported graph all go through these two wrappers, so they cannot
disagree about normalisation or resizing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Mean and standard deviation of MNIST's training pixels, 0 to 1; the article normalises by them.
MNIST_MEAN = 0.1307
MNIST_STD = 0.3081
DIGIT_SIZE = 28
_LEAST_RANGE = 1 / 16  # of all levels, darkest to brightest: below it there is nothing but noise
_BRIGHT = 0.5  # of a picture's range; no MNIST digit has a mean above 0.41


class PixelClassifier(nn.Module):
    """uint8 digits in, class probabilities out.

    Light and polarity do not matter: a picture's levels are stretched to the full range, and one
    that is bright on average is inverted, so that a dark digit on grey is a bright one on black.

    Args:
        network: gives logits.
        image_size: height and width that it takes, in pixels.
        temperature: what its logits are divided by before the softmax (Guo et al., arXiv
            1706.04599): above 1 where it is too sure. Fitted at the end of training.
        levels: off for bundles of the first dlkit, which took bright digits on black alone.
    """

    temperature: Tensor

    def __init__(
        self,
        network: nn.Module,
        image_size: int,
        temperature: float = 1.0,
        levels: bool = True,
    ) -> None:
        super().__init__()
        self.network = network
        self.image_size = image_size
        self.levels = levels
        self.register_buffer("temperature", torch.tensor(temperature))

    def logits(self, pixels: Tensor) -> Tensor:
        """uint8 or float32 (N, 28, 28), 0 to 255, to float32 logits (N, classes)."""
        return self.network(self.normalise(pixels))  # type: ignore[no-any-return]

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 or float32 (N, 28, 28), 0 to 255, to what the network takes.

        Returns:
            float32 (N, 1, image_size, image_size).
        """
        x = pixels.to(torch.float32)
        if self.levels:
            darkest, brightest = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
            extent = (brightest - darkest).clamp(min=_LEAST_RANGE * 255)
            middle = darkest + _BRIGHT * extent
            flip = (x.mean((1, 2), keepdim=True) > middle).to(torch.float32)
            # one number a picture, so that every pixel is met once: it is several times as fast
            factor = (1 - 2 * flip) / (extent * MNIST_STD)
            x = x * factor + ((flip - MNIST_MEAN) / MNIST_STD - darkest * factor)
        else:
            x = (x / 255 - MNIST_MEAN) / MNIST_STD
        x = x.unsqueeze(1)
        if self.image_size != DIGIT_SIZE:
            x = F.interpolate(x, size=(self.image_size, self.image_size), mode="bilinear")
        return x

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, 28, 28) to float32 probabilities (N, classes)."""
        return F.softmax(self.logits(pixels).to(torch.float32) / self.temperature, dim=1)


class PixelDenoiser(nn.Module):
    """uint8 images in, uint8 images out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W) to uint8 (N, H, W); H and W multiples of what the network needs."""
        y: Tensor = self.network(pixels.to(torch.float32).unsqueeze(1) / 255).squeeze(1)
        return (y.to(torch.float32).clamp(0, 1) * 255).round().to(torch.uint8)


def wrap(
    task: str,
    network: nn.Module,
    config: Any,
    temperature: float = 1.0,
    levels: bool = True,
) -> PixelClassifier | PixelDenoiser:
    """The wrapper of a task around a network with the architecture's config."""
    if task == "recognize":
        return PixelClassifier(network, config.image_size, temperature, levels)
    return PixelDenoiser(network)
