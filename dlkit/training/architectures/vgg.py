"""VGG-11 (Simonyan and Zisserman, 2014): blocks of 3 x 3 convolutions, each halving the image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.training.architectures._common import ClassifierConfig, activation, conv_size, scaled

TASK = "recognize"

# (convolutions, channels) of each block of VGG-11.
_BLOCKS = ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512))


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``.

    Attributes:
        dropout: probability in the two fully connected layers.
        batch_norm: normalise after each convolution, as in the authors' later "VGG-BN".
    """

    image_size: int = 224
    dropout: float = 0.5
    batch_norm: bool = False


def build(config: Config) -> nn.Module:
    """Five blocks, three fully connected layers."""
    modules: list[nn.Module] = []
    channels, size = 1, config.image_size
    for convolutions, wide in _BLOCKS:
        out = scaled(wide, config.width)
        for _ in range(convolutions):
            modules.append(nn.Conv2d(channels, out, kernel_size=3, padding=1))
            if config.batch_norm:
                modules.append(nn.BatchNorm2d(out))
            modules.append(activation(config.activation))
            channels = out
        modules.append(nn.MaxPool2d(kernel_size=2, stride=2))
        size = conv_size(size, 2, stride=2)
    fully = scaled(4096, config.width)
    return nn.Sequential(
        *modules,
        nn.Flatten(),
        nn.Linear(channels * size * size, fully),
        activation(config.activation),
        nn.Dropout(config.dropout),
        nn.Linear(fully, fully),
        activation(config.activation),
        nn.Dropout(config.dropout),
        nn.Linear(fully, config.classes),
    )
