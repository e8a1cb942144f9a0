"""AlexNet (Krizhevsky et al., 2012) as in the article."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit.tasks import recognize
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import ClassifierConfig, activation, conv_size, scaled


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``.

    Attributes:
        stem_kernel, stem_stride, stem_padding: of the first convolution; images smaller than
            224 x 224 want smaller ones.
        dropout: probability in the two fully connected layers.
        batch_norm: normalise after each convolution, in place of the paper's local response.
    """

    image_size: int = 224
    stem_kernel: int = 11
    stem_stride: int = 4
    stem_padding: int = 1
    dropout: float = 0.5
    batch_norm: bool = False


def build(config: Config) -> nn.Module:
    """Five convolutions, three poolings, three fully connected layers."""
    c1, c2, c3, c5 = (scaled(channels, config.width) for channels in (96, 256, 384, 256))
    fully = scaled(4096, config.width)
    size = conv_size(config.image_size, config.stem_kernel, config.stem_stride, config.stem_padding)
    for _ in range(3):
        size = conv_size(size, 3, stride=2)

    def after(channels: int) -> list[nn.Module]:
        normal = [nn.BatchNorm2d(channels)] if config.batch_norm else []
        return [*normal, activation(config.activation)]

    def convolution(channels: int, out: int, kernel: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, out, kernel, padding=kernel // 2), *after(out)]

    return nn.Sequential(
        nn.Conv2d(config.channels, c1, config.stem_kernel, config.stem_stride, config.stem_padding),
        *after(c1),
        nn.MaxPool2d(kernel_size=3, stride=2),
        *convolution(c1, c2, 5),
        nn.MaxPool2d(kernel_size=3, stride=2),
        *convolution(c2, c3, 3),
        *convolution(c3, c3, 3),
        *convolution(c3, c5, 3),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Flatten(),
        nn.Linear(c5 * size * size, fully),
        activation(config.activation),
        nn.Dropout(config.dropout),
        nn.Linear(fully, fully),
        activation(config.activation),
        nn.Dropout(config.dropout),
        nn.Linear(fully, config.classes),
    )


ARCHITECTURE = Architecture("alexnet", recognize.TASK, Config, build)
