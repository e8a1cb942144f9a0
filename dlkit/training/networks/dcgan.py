"""DCGAN's generator (Radford et al., arXiv 1511.06434), as InfoGAN has it for 28 x 28."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.errors import UsageError
from dlkit.tasks import generate
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import activation, scaled


@dataclass(frozen=True)
class Config:
    """What can be chosen.

    Attributes:
        latent: numbers of noise.
        activation: after each hidden layer: relu, sigmoid, tanh, leaky_relu, gelu or silu.
        width: factor on every hidden layer's channels.
        image_size: height and width, in pixels, a multiple of 4; 0 takes the data's.
        channels: 1 for grey images, 3 for colour; 0 takes the data's.
    """

    latent: int = 100
    activation: str = "relu"
    width: float = 1.0
    image_size: int = 0
    channels: int = 0


def build(config: Config) -> nn.Module:
    """A projection to a quarter of the size, and two transposed convolutions that double it."""
    side = quarter(config.image_size)
    first, second = scaled(128, config.width), scaled(64, config.width)
    net = nn.Sequential(
        nn.Linear(config.latent, first * side * side, bias=False),
        nn.Unflatten(1, (first, side, side)),
        nn.BatchNorm2d(first),
        activation(config.activation),
        nn.ConvTranspose2d(first, second, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(second),
        activation(config.activation),
        nn.ConvTranspose2d(second, config.channels, 4, stride=2, padding=1),
        nn.Tanh(),
    )
    net.apply(unbiased)
    return net


def quarter(side: int) -> int:
    """A quarter of a side.

    Raises:
        UsageError: it is no multiple of 4.
    """
    if side % 4 or side < 4:
        raise UsageError(f"image_size is {side}, expected a multiple of 4", "E.g. 28 or 32")
    return side // 4


def normal(module: nn.Module) -> None:
    """The start of DCGAN and what follows it: weights from a normal distribution with deviation
    0.02; around 1, as in its authors' code, where they are factors behind a batch normalisation."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1, 0.02)


def unbiased(module: nn.Module) -> None:
    """DCGAN's whole start: as ``normal``; its authors' code has no biases, so they begin at 0."""
    normal(module)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


ARCHITECTURE = Architecture("dcgan", generate.TASK, Config, build)
