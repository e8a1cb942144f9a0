"""Simple convolutional network (An et al., arXiv 2008.10400): convolutions without padding.

Digits have a black margin, so nothing is lost that padding would keep; each convolution sees whole
neighbourhoods alone, and one fully connected layer sees where everything lies.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.errors import UsageError
from dlkit.tasks import recognize
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import ClassifierConfig, activation, conv_size, scaled


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``. The defaults are the paper's M3, but for a normalised last layer.

    Attributes:
        kernel: height and width of the convolutions, in pixels: 3, 5 or 7 in the paper.
        convolutions: how many.
        filters: channels of the first convolution, before ``width``.
        growth: channels that each one has more than the one before.
        pooled: convolutions before a 2 x 2 max pooling, which the paper does not have; after it
            filters and growth are doubled, as in VGG. 0 does not pool.
        dropout: probability of each channel before the pooling and before the last layer (Tompson
            et al., arXiv 1411.4280).
    """

    kernel: int = 3
    convolutions: int = 10
    filters: int = 32
    growth: int = 16
    pooled: int = 0
    dropout: float = 0.0


def build(config: Config) -> nn.Module:
    """Convolutions, each batch normalised, and one fully connected layer."""
    for name in ("kernel", "convolutions", "filters"):
        if getattr(config, name) < 1:
            raise UsageError(f"{name} is {getattr(config, name)}, expected 1 or more")
    for name in ("growth", "pooled"):
        if getattr(config, name) < 0:
            raise UsageError(f"{name} is {getattr(config, name)}, expected 0 or more")
    modules: list[nn.Module] = []
    last, wide, growth, size = config.channels, config.filters, config.growth, config.image_size
    for number in range(1, config.convolutions + 1):
        channels = scaled(wide, config.width)
        size = conv_size(size, config.kernel)
        modules += [
            nn.Conv2d(last, channels, config.kernel),
            nn.BatchNorm2d(channels),
            activation(config.activation),
        ]
        last = channels
        if number == config.pooled:
            size = conv_size(size, 2, stride=2)
            modules.append(nn.MaxPool2d(kernel_size=2, stride=2))
            modules += _dropout(config.dropout)
            wide, growth = 2 * wide, 2 * growth
        else:
            wide += growth
    return nn.Sequential(
        *modules,
        *_dropout(config.dropout),
        nn.Flatten(),
        nn.Linear(last * size * size, config.classes),
    )


def _dropout(probability: float) -> list[nn.Module]:
    return [nn.Dropout2d(probability)] if probability else []


ARCHITECTURE = Architecture("simple_cnn", recognize.TASK, Config, build)
