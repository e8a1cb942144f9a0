"""A small U-Net that says where on a page digits and other signs are.

Centres as a heat map, and from each the box: Zhou et al., "Objects as Points", arXiv 1904.07850.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit.tasks import tensors
from dlkit.training.architecture import Architecture

CHANNELS = 6  # digit, other sign, offset in x and y, logarithm of width and height
_RARE = -4.0  # logit of a centre before training: most cells have none
_MIDDLE, _SPREAD = 128.0, 64.0


@dataclass(frozen=True)
class Config:
    """What can be chosen.

    Attributes:
        width: factor on every layer's channels.
    """

    width: float = 1.0


def _unit(channels: int, out: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """Two convolutions and what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _unit(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return F.relu(x + self.second(self.first(x)))


class Finder(nn.Module):
    """uint8 pixels in, centres and boxes out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        one, two, three, four = (max(4, round(config.width * c)) for c in (12, 32, 48, 64))
        self.stem = _unit(1, one, 2)
        self.quarter = _unit(one, two, 2)
        self.eighth = nn.Sequential(_unit(two, three, 2), Residual(three))
        self.sixteenth = nn.Sequential(_unit(three, four, 2), Residual(four), Residual(four))
        self.up_eighth = _unit(four, three, kernel=1)
        self.at_eighth = _unit(three, three)
        self.up_quarter = _unit(three, two, kernel=1)
        self.at_quarter = _unit(two, two)
        self.head = nn.Conv2d(two, CHANNELS, 1)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.copy_(torch.tensor([_RARE] * 2 + [0.0] * (CHANNELS - 2)))

    def logits(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W) to float32 (N, 6, H / 4, W / 4), the first two before the sigmoid."""
        x = (pixels.to(torch.float32).unsqueeze(1) - _MIDDLE) / _SPREAD
        quarter = self.quarter(self.stem(x))
        eighth = self.eighth(quarter)
        low = self.up_eighth(self.sixteenth(eighth))
        x = self.at_eighth(eighth + F.interpolate(low, scale_factor=2.0, mode="nearest"))
        x = F.interpolate(self.up_quarter(x), scale_factor=2.0, mode="nearest")
        return self.head(self.at_quarter(quarter + x)).to(torch.float32)  # type: ignore[no-any-return]

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W), sides multiples of 16, to float32 (N, 6, H / 4, W / 4): the chance of a
        digit's and of another sign's centre; from the middle of the cell to the centre of the box
        in cells, x and y; width and height as natural logarithm of parts of 16 pixels."""
        found = self.logits(pixels)
        return torch.cat([torch.sigmoid(found[:, :2]), found[:, 2:]], dim=1)


def build(config: Config) -> nn.Module:
    """Down to a sixteenth and up again to a quarter of the size."""
    return Finder(config)


ARCHITECTURE = Architecture("finder", tensors.TASK, Config, build, multiple_of=16)
