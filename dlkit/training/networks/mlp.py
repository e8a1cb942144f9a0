"""Multilayer perceptron: 784 - 256 - 10, as in the article."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.tasks import recognize
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import ClassifierConfig, activation, scaled


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``.

    Attributes:
        hidden: units of each hidden layer, times ``width``.
        layers: hidden layers.
        batch_norm: normalise before each activation.
        dropout: probability after each hidden layer.
    """

    hidden: int = 256
    layers: int = 1
    batch_norm: bool = False
    dropout: float = 0.0


def build(config: Config) -> nn.Module:
    """Flatten, hidden layers, logits."""
    modules: list[nn.Module] = [nn.Flatten()]
    features = config.channels * config.image_size**2
    hidden = scaled(config.hidden, config.width)
    for _ in range(config.layers):
        modules.append(nn.Linear(features, hidden))
        if config.batch_norm:
            modules.append(nn.BatchNorm1d(hidden))
        modules.append(activation(config.activation))
        if config.dropout:
            modules.append(nn.Dropout(config.dropout))
        features = hidden
    return nn.Sequential(*modules, nn.Linear(features, config.classes))


ARCHITECTURE = Architecture("mlp", recognize.TASK, Config, build)
