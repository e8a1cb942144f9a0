"""The generator of the original GAN: fully connected (Goodfellow et al., arXiv 1406.2661)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.tasks import generate
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import activation, scaled


@dataclass(frozen=True)
class Config:
    """What can be chosen.

    Attributes:
        latent: numbers of noise.
        activation: after each hidden layer: relu, sigmoid, tanh, leaky_relu, gelu or silu.
        width: factor on every hidden layer's units.
        image_size: height and width, in pixels; 0 takes the data's.
        channels: 1 for grey images, 3 for colour; 0 takes the data's.
    """

    latent: int = 100
    activation: str = "relu"
    width: float = 1.0
    image_size: int = 0
    channels: int = 0


def build(config: Config) -> nn.Module:
    """Two hidden layers of 1,200 units, as in the paper on MNIST."""
    hidden = scaled(1200, config.width)
    shape = (config.channels, config.image_size, config.image_size)
    return nn.Sequential(
        nn.Linear(config.latent, hidden),
        activation(config.activation),
        nn.Linear(hidden, hidden),
        activation(config.activation),
        nn.Linear(hidden, shape[0] * shape[1] * shape[2]),
        nn.Tanh(),
        nn.Unflatten(1, shape),
    )


ARCHITECTURE = Architecture("gan", generate.TASK, Config, build)
