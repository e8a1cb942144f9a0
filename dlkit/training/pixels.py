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


class PixelClassifier(nn.Module):
    """uint8 digits in, class probabilities out."""

    def __init__(self, network: nn.Module, image_size: int) -> None:
        super().__init__()
        self.network = network
        self.image_size = image_size

    def logits(self, pixels: Tensor) -> Tensor:
        """uint8 (N, 28, 28) to float32 logits (N, classes)."""
        return self.network(self.normalise(pixels))  # type: ignore[no-any-return]

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (N, 28, 28) to float32 (N, 1, image_size, image_size), as the network takes it."""
        x = (pixels.to(torch.float32) / 255 - MNIST_MEAN) / MNIST_STD
        x = x.unsqueeze(1)
        if self.image_size != DIGIT_SIZE:
            x = F.interpolate(x, size=(self.image_size, self.image_size), mode="bilinear")
        return x

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, 28, 28) to float32 probabilities (N, classes)."""
        return F.softmax(self.logits(pixels).to(torch.float32), dim=1)


class PixelDenoiser(nn.Module):
    """uint8 images in, uint8 images out."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W) to uint8 (N, H, W); H and W multiples of what the network needs."""
        y: Tensor = self.network(pixels.to(torch.float32).unsqueeze(1) / 255).squeeze(1)
        return (y.to(torch.float32).clamp(0, 1) * 255).round().to(torch.uint8)


def wrap(task: str, network: nn.Module, config: Any) -> PixelClassifier | PixelDenoiser:
    """The wrapper of a task around a network with the architecture's config."""
    if task == "recognize":
        return PixelClassifier(network, config.image_size)
    return PixelDenoiser(network)
