"""VGG (Simonyan and Zisserman, 2014): blocks of 3 x 3 convolutions, each halving the image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.errors import UsageError
from dlkit.plugins import unknown
from dlkit.tasks import recognize
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import ClassifierConfig, activation, conv_size, scaled

# (convolutions, channels) of each block, by the layers with weights: table 1 of the paper.
_BLOCKS = {
    11: ((1, 64), (1, 128), (2, 256), (2, 512), (2, 512)),
    13: ((2, 64), (2, 128), (2, 256), (2, 512), (2, 512)),
}


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``.

    Attributes:
        depth: 11 or 13.
        blocks: how many of the five blocks; fewer for small images.
        fully: channels of the two fully connected layers, before ``width``.
        dropout: probability in the two fully connected layers.
        batch_norm: normalise after each convolution, as in the authors' later "VGG-BN".
    """

    image_size: int = 224
    depth: int = 11
    blocks: int = 5
    fully: int = 4096
    dropout: float = 0.5
    batch_norm: bool = False


def build(config: Config) -> nn.Module:
    """Up to five blocks, three fully connected layers."""
    if config.depth not in _BLOCKS:
        raise unknown("depth", str(config.depth), [str(depth) for depth in _BLOCKS])
    if not 1 <= config.blocks <= len(_BLOCKS[config.depth]):
        raise UsageError(f"blocks is {config.blocks}, expected 1 to {len(_BLOCKS[config.depth])}")
    modules: list[nn.Module] = []
    channels, size = config.channels, config.image_size
    for convolutions, wide in _BLOCKS[config.depth][: config.blocks]:
        out = scaled(wide, config.width)
        for _ in range(convolutions):
            modules.append(nn.Conv2d(channels, out, kernel_size=3, padding=1))
            if config.batch_norm:
                modules.append(nn.BatchNorm2d(out))
            modules.append(activation(config.activation))
            channels = out
        modules.append(nn.MaxPool2d(kernel_size=2, stride=2))
        size = conv_size(size, 2, stride=2)
    fully = scaled(config.fully, config.width)
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


ARCHITECTURE = Architecture("vgg", recognize.TASK, Config, build)
