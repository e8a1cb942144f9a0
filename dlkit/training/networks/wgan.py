"""The article's WGAN: a residual encoder-decoder generator and a fully convolutional critic.

The article's last deconvolution pads by (4, 3), which fits 678 x 384 alone. Here it pads by 3 and
the image comes padded to a multiple of 8, so any size goes through.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from dlkit.tasks import denoise
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import activation, scaled

MULTIPLE_OF = 8  # three halvings


@dataclass(frozen=True)
class Config:
    """What can be chosen of the generator.

    Attributes:
        activation: after each layer: relu, sigmoid, tanh, leaky_relu, gelu or silu.
        width: factor on every hidden layer's channels.
        normalize: instance normalisation; off, here and in the critic, gives the thesis's "WGAN
            without normalisation".
        channels: 1 for grey images, 3 for colour; 0 takes the data's.
    """

    activation: str = "relu"
    width: float = 1.0
    normalize: bool = True
    channels: int = 0


@dataclass(frozen=True)
class CriticConfig:
    """What can be chosen of the critic; it has leaky ReLU with slope 0.2.

    Attributes:
        width: factor on every hidden layer's channels.
        normalize: instance normalisation.
    """

    width: float = 1.0
    normalize: bool = True


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions; the shortcut is projected by 1 x 1 where the channels change."""

    def __init__(self, channels: int, out: int, stride: int, config: Config) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, kernel_size=3, stride=stride, padding=1)
        self.act1 = activation(config.activation)
        self.conv2 = nn.Conv2d(out, out, kernel_size=3, padding=1)
        self.act2 = activation(config.activation)
        self.proj: nn.Module = nn.Identity()
        if channels != out or stride != 1:
            self.proj = nn.Conv2d(channels, out, kernel_size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        return self.act2(self.conv2(self.act1(self.conv1(x))) + self.proj(x))  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Noisy image in, cleaned image out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c1, c2, c3, c4 = (scaled(channels, config.width) for channels in (64, 128, 256, 512))

        def norm(channels: int) -> list[nn.Module]:
            layers: list[nn.Module] = [activation(config.activation)]
            if config.normalize:
                layers.insert(0, nn.InstanceNorm2d(channels, affine=True))
            return layers

        def up(channels: int, out: int) -> list[nn.Module]:
            double = nn.ConvTranspose2d(
                channels, out, kernel_size=3, stride=2, padding=1, output_padding=1
            )
            return [double, *norm(out)]

        self.model = nn.Sequential(
            nn.Conv2d(config.channels, c1, kernel_size=7, padding=3),
            *norm(c1),
            nn.Conv2d(c1, c2, kernel_size=3, stride=2, padding=1),
            *norm(c2),
            ResidualBlock(c2, c2, 1, config),
            ResidualBlock(c2, c3, 2, config),
            ResidualBlock(c3, c3, 1, config),
            ResidualBlock(c3, c4, 2, config),
            *up(c4, c3),
            *up(c3, c2),
            *up(c2, c1),
            nn.ConvTranspose2d(c1, config.channels, kernel_size=7, padding=3),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W), 0 to 1, H and W multiples of 8; gives -1 to 2, useful in 0 to 1."""
        return self.model(x) + x  # type: ignore[no-any-return]


class Critic(nn.Module):
    """Scores how real an image looks, patch by patch. Instance normalisation, never batch:
    the gradient penalty needs each sample's score to depend on that sample alone."""

    def __init__(self, config: CriticConfig, image_channels: int) -> None:
        super().__init__()
        channels = [image_channels, *(scaled(wide, config.width) for wide in (64, 128, 256, 512))]
        modules: list[nn.Module] = []
        for index, (before, after) in enumerate(itertools.pairwise(channels)):
            kernel, padding = (7, 3) if index == 0 else (3, 0)
            modules.append(nn.Conv2d(before, after, kernel, stride=2, padding=padding))
            if config.normalize:
                modules.append(nn.InstanceNorm2d(after))
            modules.append(nn.LeakyReLU(0.2))
        modules.append(nn.Conv2d(channels[-1], 1, kernel_size=3, padding=1))
        self.model = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W), 0 to 1, at least 64 x 64; gives scores (N, 1, h, w)."""
        return self.model(x)  # type: ignore[no-any-return]


def build(config: Config) -> nn.Module:
    """The generator: what is exported."""
    generator = Generator(config)
    generator.apply(xavier)
    return generator


def build_critic(config: CriticConfig, channels: int) -> nn.Module:
    """The critic, for images of so many channels: needed for training alone."""
    critic = Critic(config, channels)
    critic.apply(xavier)
    return critic


def xavier(module: nn.Module) -> None:
    """The article's start: Xavier-normal weights and zero biases in every convolution."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


ARCHITECTURE = Architecture("wgan", denoise.TASK, Config, build, multiple_of=MULTIPLE_OF)
