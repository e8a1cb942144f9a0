"""The conditional GAN's generator: DCGAN's, told the class (Mirza and Osindero, arXiv 1411.1784).

The class comes as one 1 among zeros behind the noise, so that a linear layer without bias is its
embedding. It is met where the noise is, and in every batch normalisation, whose scale and shift it
decides (de Vries et al., arXiv 1707.00683; the field's usual way since SN-GAN, arXiv 1802.05637).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from dlkit.tasks import generate
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import activation, scaled
from dlkit.training.networks.dcgan import normal, quarter


@dataclass(frozen=True)
class Config:
    """What can be chosen.

    Attributes:
        latent: numbers of noise.
        activation: after each hidden layer: relu, sigmoid, tanh, leaky_relu, gelu or silu.
        width: factor on every hidden layer's channels.
        image_size: height and width, in pixels, a multiple of 4; 0 takes the data's.
        channels: 1 for grey images, 3 for colour; 0 takes the data's.
        classes: how many; 0 takes the data's.
    """

    latent: int = 64
    activation: str = "relu"
    width: float = 1.0
    image_size: int = 0
    channels: int = 0
    classes: int = 0


class ClassNorm(nn.Module):
    """Batch normalisation with a scale and a shift for each class: (N, C, H, W) to the same."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Linear(classes, channels, bias=False)
        self.shift = nn.Linear(classes, channels, bias=False)

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """``classes``: float32 (N, classes)."""
        scale = (1 + self.scale(classes)).unsqueeze(2).unsqueeze(3)
        shift = self.shift(classes).unsqueeze(2).unsqueeze(3)
        return self.norm(x) * scale + shift  # type: ignore[no-any-return]


class Generator(nn.Module):
    """Noise and class in, image out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.latent = config.latent
        side = quarter(config.image_size)
        first, second, third = (scaled(wide, config.width) for wide in (64, 32, 16))
        self.shape = (first, side, side)
        self.project = nn.Linear(config.latent + config.classes, first * side * side)
        self.norm1 = ClassNorm(first, config.classes)
        self.up1 = nn.ConvTranspose2d(first, second, 4, stride=2, padding=1)
        self.norm2 = ClassNorm(second, config.classes)
        self.mix = nn.Conv2d(second, second, 3, padding=1)
        self.norm3 = ClassNorm(second, config.classes)
        self.up2 = nn.ConvTranspose2d(second, third, 4, stride=2, padding=1)
        self.norm4 = ClassNorm(third, config.classes)
        self.draw = nn.Conv2d(third, config.channels, 3, padding=1)
        self.act = activation(config.activation)
        self.end = nn.Tanh()

    def forward(self, code: Tensor) -> Tensor:
        """float32 (N, latent + classes) to float32 (N, channels, side, side), -1 to 1."""
        classes = code[:, self.latent :]
        x = self.project(code).unflatten(1, self.shape)
        x = self.up1(self.act(self.norm1(x, classes)))
        x = self.mix(self.act(self.norm2(x, classes)))
        x = self.up2(self.act(self.norm3(x, classes)))
        return self.end(self.draw(self.act(self.norm4(x, classes))))  # type: ignore[no-any-return]


def build(config: Config) -> nn.Module:
    """The generator, with DCGAN's start."""
    generator = Generator(config)
    generator.apply(normal)
    return generator


ARCHITECTURE = Architecture("cgan", generate.TASK, Config, build)
