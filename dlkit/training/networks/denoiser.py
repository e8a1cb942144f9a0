"""The default denoiser of passive millimetre-wave scans: it predicts how a person would retouch.

Clean pictures are mostly one levels curve on the raw pixel, with a threshold that moves slowly
with place, and a mask. A small U-Net at half resolution therefore predicts three smooth maps:
the curve's threshold, its steepness and the mask. They are applied to the raw pixels at full
resolution, which keeps the ragged edge, and a very small head corrects the rest. The curve and
the mask are sigmoids; all else is convolution, ReLU, linear resizing and means over columns,
without normalisation layers: half precision and eight-bit integers are safe.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dlkit.tasks import denoise
from dlkit.training.architecture import Architecture

# Height and width of the input must be multiples of this: four halvings.
MULTIPLE_OF = 16

# The curve before anything is learnt: raw value that becomes one half, and the logit's slope per
# unit of raw value. Measured on real pairs: grey 152 of 255, 0.086 per grey level.
FIRST_THRESHOLD = 152.0 / 255.0
FIRST_SLOPE = 22.0

# Channels that the full-resolution head works with.
HEAD_CHANNELS = 8


@dataclass(frozen=True)
class Config:
    """Size of the network.

    Attributes:
        width: channels at half resolution; twice and four times as many below.
        deepest: channels at one sixteenth of the resolution.
        blocks: residual blocks at one eighth and one sixteenth.
        column_context: give each place the mean of its whole column.
        channels: 1 for grey images, 3 for colour; 0 takes the data's.
    """

    width: int = 16
    deepest: int = 96
    blocks: int = 2
    column_context: bool = True
    channels: int = 0


class Residual(nn.Module):
    """Two 3x3 convolutions around a ReLU, added to the input: (N, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        # Near identity at the start: a deep stack without normalisation then trains.
        nn.init.normal_(self.second.weight, std=0.02 / channels**0.5)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Add the correction to `x`."""
        y: Tensor = self.second(functional.relu(self.first(x)))
        return x + y


class ColumnContext(nn.Module):
    """Tell each place about its whole column and the whole picture: (N, C, H, W) to the same.

    Stripes run down the whole scan, so a column's mean shows them far better than a window does.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, (1, 5), padding=(0, 2))
        self.whole = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.normal_(self.out.weight, std=0.02 / channels**0.5)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Add what the column's and the picture's means say to every row."""
        columns = x.mean(dim=2, keepdim=True)
        picture = columns.mean(dim=3, keepdim=True)
        y: Tensor = self.out(functional.relu(self.mix(columns) + self.whole(picture)))
        return x + y


def _twice(x: Tensor) -> Tensor:
    """Linear enlargement by two: (N, C, H, W) to (N, C, 2H, 2W)."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Denoiser(nn.Module):
    """Scan to clean picture: float32 (N, C, H, W) of 0..1 to the same of about 0..1.

    H and W are multiples of `MULTIPLE_OF`. The output is not clamped. Each picture of a batch is
    treated by itself.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        half, quarter, eighth = config.width, config.width * 2, config.width * 4
        deepest, channels = config.deepest, config.channels

        def blocks(wide: int, count: int, context: bool = False) -> nn.Sequential:
            layers: list[nn.Module] = [Residual(wide) for _ in range(count)]
            if context and config.column_context:
                layers.insert(0, ColumnContext(wide))
            return nn.Sequential(*layers)

        def shrink(inside: int, outside: int, kernel: int = 3) -> nn.Sequential:
            conv = nn.Conv2d(inside, outside, kernel, stride=2, padding=kernel // 2)
            return nn.Sequential(conv, nn.ReLU())

        self.down1, self.encode1 = shrink(channels, half, 5), blocks(half, 1)
        self.down2, self.encode2 = shrink(half, quarter), blocks(quarter, 1, context=True)
        self.down3, self.encode3 = shrink(quarter, eighth), blocks(eighth, config.blocks, True)
        self.down4, self.encode4 = shrink(eighth, deepest), blocks(deepest, config.blocks, True)
        self.up3, self.decode3 = nn.Conv2d(deepest, eighth, 1), blocks(eighth, 1)
        self.up2, self.decode2 = nn.Conv2d(eighth, quarter, 1), blocks(quarter, 1)
        self.up1, self.decode1 = nn.Conv2d(quarter, half, 1), blocks(half, 1)
        self.maps = nn.Conv2d(half, HEAD_CHANNELS, 3, padding=1)
        self.refine = nn.Conv2d(HEAD_CHANNELS + 2 * channels, HEAD_CHANNELS, 3, padding=1)
        self.correct = nn.Conv2d(HEAD_CHANNELS, channels, 3, padding=1)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.maps.weight, std=0.01)
        nn.init.zeros_(self.maps.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Clean the scans."""
        centred = x - 0.5
        at2 = self.encode1(self.down1(centred * 4.0))
        at4 = self.encode2(self.down2(at2))
        at8 = self.encode3(self.down3(at4))
        at16 = self.encode4(self.down4(at8))
        at8 = self.decode3(functional.relu(at8 + _twice(self.up3(at16))))
        at4 = self.decode2(functional.relu(at4 + _twice(self.up2(at8))))
        at2 = self.decode1(functional.relu(at2 + _twice(self.up1(at4))))
        maps = _twice(self.maps(at2))
        # Raw pixel first, small shift second: this order loses least in half precision.
        above = (x - FIRST_THRESHOLD) - maps[:, 0:1] * 0.25
        slope = FIRST_SLOPE * functional.relu(maps[:, 1:2] + 1.0)
        mask = torch.sigmoid(maps[:, 2:3] * 4.0 + 2.0)
        curve = torch.sigmoid(slope * above) * mask
        detail = functional.relu(self.refine(torch.cat([centred * 4.0, curve, maps], dim=1)))
        correction: Tensor = self.correct(detail)
        return curve + correction


def build(config: Config) -> nn.Module:
    """The network, with fresh weights."""
    return Denoiser(config)


ARCHITECTURE = Architecture(
    "denoiser", denoise.TASK, Config, build, multiple_of=MULTIPLE_OF, adapted=("maps",)
)
