"""Pixels in, probabilities out: what belongs to the graph of a classifier.

Training, evaluation and the exported graph all go through this wrapper, so they cannot disagree
about normalisation or resizing. torch is needed here: import it late.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Mean and standard deviation of MNIST's training pixels, 0 to 1; the article normalises by them.
MNIST_MEAN = 0.1307
MNIST_STD = 0.3081
_LEAST_RANGE = 1 / 16  # of all levels, darkest to brightest: below it there is nothing but noise
_BRIGHT = 0.5  # of a picture's range; no MNIST digit has a mean above 0.41


class PixelClassifier(nn.Module):
    """uint8 pixels in, class probabilities out.

    Args:
        network: gives logits; takes (N, C, image_size, image_size).
        image_size: height and width that it takes, in pixels; one number where they are equal.
        temperature: what its logits are divided by before the softmax (Guo et al., arXiv
            1706.04599): above 1 where it is too sure. Fitted at the end of training.
        levels: light and polarity do not matter, for grey pictures of digits: levels are stretched
            to the full range, and a picture that is bright on average is inverted, so that a dark
            digit on grey is a bright one on black.
        mean, std: of each channel of the training pixels, 0 to 1.
        probabilities: the network gives these, not logits.
    """

    temperature: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        image_size: int | tuple[int, int],
        temperature: float = 1.0,
        levels: bool = True,
        mean: Sequence[float] = (MNIST_MEAN,),
        std: Sequence[float] = (MNIST_STD,),
        probabilities: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.size = image_size if isinstance(image_size, tuple) else (image_size, image_size)
        self.levels, self.probabilities = levels, probabilities
        self.channels = len(mean)
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("mean", torch.tensor(list(mean)).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(list(std)).view(-1, 1, 1))

    def logits(self, pixels: Tensor) -> Tensor:
        """uint8 or float32 pixels, 0 to 255, to float32 logits (N, classes)."""
        return self.network(self.normalise(pixels))  # type: ignore[no-any-return]

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 or float32 (N, H, W) or (N, H, W, C), 0 to 255, to what the network takes.

        Returns:
            float32 (N, C, image_size, image_size).
        """
        x = pixels.to(torch.float32)
        if self.levels:
            darkest, brightest = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
            extent = (brightest - darkest).clamp(min=_LEAST_RANGE * 255)
            middle = darkest + _BRIGHT * extent
            flip = (x.mean((1, 2), keepdim=True) > middle).to(torch.float32)
            # one number a picture, so that every pixel is met once: it is several times as fast
            factor = (1 - 2 * flip) / (extent * self.std)
            x = x * factor + ((flip - self.mean) / self.std - darkest * factor)
            x = x.unsqueeze(1)
        else:
            x = x.unsqueeze(1) if self.channels == 1 else x.permute(0, 3, 1, 2)
            x = (x / 255 - self.mean) / self.std
        if tuple(x.shape[2:]) != self.size:
            x = F.interpolate(x, size=self.size, mode="bilinear")
        return x

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W) or (N, H, W, C) to float32 probabilities (N, classes)."""
        given = self.logits(pixels).to(torch.float32)
        return given if self.probabilities else F.softmax(given / self.temperature, dim=1)
