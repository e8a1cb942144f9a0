"""pix2pix's generator: a U-Net (Isola et al., arXiv 1611.07004)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dlkit.errors import UsageError
from dlkit.tasks import denoise
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import scaled
from dlkit.training.networks.dcgan import normal

MULTIPLE_OF = 128
DEEPEST = 7  # halvings of MULTIPLE_OF
_DROPPED = 3  # innermost layers with dropout on the way up, as in the paper


@dataclass(frozen=True)
class Config:
    """What can be chosen.

    Attributes:
        width: factor on every layer's channels: 64 outside, twice as many a layer, at most 512.
        halvings: 2 to 7; the paper has 8 for 256 x 256, down to one pixel.
        dropout: of the innermost layers, while training alone: the paper's noise.
        normalize: instance normalisation. It measures the picture that it is given: a network that
            is trained on crops and used on whole scans does better without.
        channels: 1 for grey images, 3 for colour; 0 takes the data's.
    """

    width: float = 1.0
    halvings: int = DEEPEST
    dropout: float = 0.5
    normalize: bool = True
    channels: int = 0


class UNet(nn.Module):
    """Noisy image in, cleaned image out. Instance normalisation, which is what the paper's batch
    normalisation is with its batches of one: an image's answer depends on no other."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not 2 <= config.halvings <= DEEPEST:
            raise UsageError(f"halvings is {config.halvings}, expected 2 to {DEEPEST}")
        wide = [scaled(64 * 2 ** min(at, 3), config.width) for at in range(config.halvings)]
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for at, channels in enumerate(wide):
            before = wide[at - 1] if at else config.channels
            down: list[nn.Module] = [nn.Conv2d(before, channels, 4, stride=2, padding=1)]
            if at:
                down.insert(0, nn.LeakyReLU(0.2))
            if 0 < at < config.halvings - 1 and config.normalize:
                down.append(nn.InstanceNorm2d(channels, affine=True))
            self.downs.append(nn.Sequential(*down))
            deepest = at == config.halvings - 1
            inside = channels if deepest else 2 * channels
            up: list[nn.Module] = [
                nn.ReLU(),
                nn.ConvTranspose2d(inside, before, 4, stride=2, padding=1),
            ]
            if at:
                if config.normalize:
                    up.append(nn.InstanceNorm2d(before, affine=True))
                if config.halvings - 1 - _DROPPED <= at < config.halvings - 1:
                    up.append(nn.Dropout(config.dropout))
            self.ups.append(nn.Sequential(*up))

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W), 0 to 1, H and W multiples of 2 to the halvings; to the same."""
        x = 2 * x - 1
        seen: list[Tensor] = []
        for down in self.downs:
            x = down(x)
            seen.append(x)
        for up in reversed(self.ups):
            here = seen.pop()
            x = up(x if x is here else torch.cat([x, here], dim=1))
        return (torch.tanh(x) + 1) / 2


def build(config: Config) -> nn.Module:
    """The generator, with DCGAN's start where it has normalisation to go with it."""
    generator = UNet(config)
    if config.normalize:
        generator.apply(normal)
    return generator


ARCHITECTURE = Architecture("unet", denoise.TASK, Config, build, multiple_of=MULTIPLE_OF)
