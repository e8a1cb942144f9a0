"""Multilayer perceptron: 784 - 256 - 10, as in the article."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.training.architectures._common import ClassifierConfig, activation, scaled

TASK = "recognize"


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``.

    Attributes:
        hidden: units of each hidden layer, times ``width``.
        layers: hidden layers.
        dropout: probability after each hidden layer.
    """

    hidden: int = 256
    layers: int = 1
    dropout: float = 0.0


def build(config: Config) -> nn.Module:
    """Flatten, hidden layers, logits."""
    modules: list[nn.Module] = [nn.Flatten()]
    features = config.image_size**2
    hidden = scaled(config.hidden, config.width)
    for _ in range(config.layers):
        modules += [nn.Linear(features, hidden), activation(config.activation)]
        if config.dropout:
            modules.append(nn.Dropout(config.dropout))
        features = hidden
    return nn.Sequential(*modules, nn.Linear(features, config.classes))
