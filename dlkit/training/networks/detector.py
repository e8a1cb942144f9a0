"""A small U-Net that says where on a scan concealed objects are.

Centres as a heat map (Zhou et al., "Objects as Points", arXiv 1904.07850), from each the distances
to the box's four sides (Tian et al., "FCOS", arXiv 1904.01355), and the objects' mask; all at a
quarter of the resolution. Below 1/16 it sees the whole person, and by the columns' means the
stripes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit.tasks import detect
from dlkit.training.architecture import Architecture
from dlkit.training.networks.denoiser import ColumnContext

CHANNELS = 6  # centre, mask, logarithms of the distances to left, top, right and bottom
MULTIPLE_OF = 32
_RARE = -4.0  # logit of a centre or an object before training: most cells have none


@dataclass(frozen=True)
class Config:
    """What can be chosen.

    Attributes:
        width: factor on every layer's channels.
        channels: 1, grey; 0 takes the data's.
    """

    width: float = 1.0
    channels: int = 0


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


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Detector(nn.Module):
    """Scans to maps of objects: float32 (N, C, H, W), 0 to 1, to (N, 6, H / 4, W / 4)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        two, three, four, five = (max(4, round(config.width * c)) for c in (32, 48, 64, 80))
        # all pixels of a cell at once: convolutions of few channels at full size take long
        self.quarter = nn.Sequential(nn.PixelUnshuffle(4), _unit(16 * config.channels, two))
        self.eighth = nn.Sequential(_unit(two, three, 2), Residual(three))
        self.sixteenth = nn.Sequential(
            _unit(three, four, 2), ColumnContext(four), Residual(four), Residual(four)
        )
        self.deepest = nn.Sequential(_unit(four, five, 2), Residual(five))
        self.up_sixteenth, self.at_sixteenth = _unit(five, four, kernel=1), Residual(four)
        self.up_eighth, self.at_eighth = _unit(four, three, kernel=1), Residual(three)
        self.up_quarter, self.at_quarter = _unit(three, two, kernel=1), _unit(two, two)
        self.head = nn.Conv2d(two, CHANNELS, 3, padding=1)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.copy_(torch.tensor([_RARE] * 2 + [0.0] * (CHANNELS - 2)))

    def forward(self, x: Tensor) -> Tensor:
        """H and W are multiples of 32; the first two channels are logits."""
        quarter = self.quarter((x - 0.5) * 4.0)
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        x = self.at_sixteenth(sixteenth + _twice(self.up_sixteenth(self.deepest(sixteenth))))
        x = self.at_eighth(eighth + _twice(self.up_eighth(x)))
        x = self.at_quarter(quarter + _twice(self.up_quarter(x)))
        return self.head(x).to(torch.float32)  # type: ignore[no-any-return]


def build(config: Config) -> nn.Module:
    """Down to 1/32 and up again to a quarter of the size."""
    return Detector(config)


ARCHITECTURE = Architecture("detector", detect.TASK, Config, build, multiple_of=MULTIPLE_OF)
