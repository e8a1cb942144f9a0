"""LeNet-5 (LeCun et al., 1998) in the form of the article: sigmoid and average pooling."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.training.architectures._common import ClassifierConfig, activation, conv_size, scaled

TASK = "recognize"


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``."""

    activation: str = "sigmoid"


def build(config: Config) -> nn.Module:
    """Two convolutions with pooling, three fully connected layers."""
    c1, c2 = scaled(6, config.width), scaled(16, config.width)
    f1, f2 = scaled(120, config.width), scaled(84, config.width)
    size = conv_size(config.image_size, 5, padding=2) // 2
    size = conv_size(size, 5) // 2
    return nn.Sequential(
        nn.Conv2d(1, c1, kernel_size=5, padding=2),
        activation(config.activation),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Conv2d(c1, c2, kernel_size=5),
        activation(config.activation),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(c2 * size * size, f1),
        activation(config.activation),
        nn.Linear(f1, f2),
        activation(config.activation),
        nn.Linear(f2, config.classes),
    )
