"""LeNet-5 (LeCun et al., 1998) in the form of the article: sigmoid and average pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from dlkit.plugins import unknown
from dlkit.tasks import recognize
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import ClassifierConfig, activation, conv_size, scaled

_POOLINGS: dict[str, Any] = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``.

    Attributes:
        pooling: ``average`` or ``max``.
        batch_norm: normalise before each activation.
    """

    activation: str = "sigmoid"
    pooling: str = "average"
    batch_norm: bool = False


def build(config: Config) -> nn.Module:
    """Two convolutions with pooling, three fully connected layers."""
    c1, c2 = scaled(6, config.width), scaled(16, config.width)
    f1, f2 = scaled(120, config.width), scaled(84, config.width)
    size = conv_size(config.image_size, 5, padding=2) // 2
    size = conv_size(size, 5) // 2
    if config.pooling not in _POOLINGS:
        raise unknown("pooling", config.pooling, list(_POOLINGS))
    pooling = _POOLINGS[config.pooling]

    def after(features: int, norm: type[nn.Module]) -> list[nn.Module]:
        normal = [norm(features)] if config.batch_norm else []
        return [*normal, activation(config.activation)]

    return nn.Sequential(
        nn.Conv2d(config.channels, c1, kernel_size=5, padding=2),
        *after(c1, nn.BatchNorm2d),
        pooling(kernel_size=2, stride=2),
        nn.Conv2d(c1, c2, kernel_size=5),
        *after(c2, nn.BatchNorm2d),
        pooling(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(c2 * size * size, f1),
        *after(f1, nn.BatchNorm1d),
        nn.Linear(f1, f2),
        *after(f2, nn.BatchNorm1d),
        nn.Linear(f2, config.classes),
    )


ARCHITECTURE = Architecture("lenet", recognize.TASK, Config, build)
