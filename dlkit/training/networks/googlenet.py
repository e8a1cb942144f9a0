"""GoogLeNet (Szegedy et al., 2014): nine Inception blocks of four parallel paths."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dlkit.plugins import unknown
from dlkit.tasks import recognize
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import ClassifierConfig, activation, scaled

# Channels of the four paths of each Inception block, by stage; from table 1 of the paper.
_STAGE_3 = ((64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64))
_STAGE_4 = (
    (192, (96, 208), (16, 48), 64),
    (160, (112, 224), (24, 64), 64),
    (128, (128, 256), (24, 64), 64),
    (112, (144, 288), (32, 64), 64),
    (256, (160, 320), (32, 128), 128),
)
_STAGE_5 = ((256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128))
# (kernel, stride) of the first convolution.
_STEMS = {"imagenet": (7, 2), "small": (5, 1)}
_Paths = tuple[int, tuple[int, int], tuple[int, int], int]


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``.

    Attributes:
        batch_norm: normalise after each convolution, as in Inception v2.
        stem: ``imagenet`` halves twice before the first 3 x 3; ``small`` halves once, for images
            of about 28 pixels.
    """

    image_size: int = 96
    batch_norm: bool = False
    stem: str = "imagenet"


class Inception(nn.Module):
    """1 x 1; 1 x 1 then 3 x 3; 1 x 1 then 5 x 5; pooling then 1 x 1; side by side."""

    def __init__(self, channels: int, paths: _Paths, config: Config) -> None:
        super().__init__()
        one, (three_in, three), (five_in, five), pool = paths
        self.one = _convolution(channels, one, 1, 1, config)
        self.three = nn.Sequential(
            _convolution(channels, three_in, 1, 1, config),
            _convolution(three_in, three, 3, 1, config),
        )
        self.five = nn.Sequential(
            _convolution(channels, five_in, 1, 1, config), _convolution(five_in, five, 5, 1, config)
        )
        self.pool = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
            _convolution(channels, pool, 1, 1, config),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, sum of the paths' channels, H, W)."""
        return torch.cat((self.one(x), self.three(x), self.five(x), self.pool(x)), dim=1)


def build(config: Config) -> nn.Module:
    """Stem, nine Inception blocks in three stages, global average pooling, logits."""
    if config.stem not in _STEMS:
        raise unknown("stem", config.stem, list(_STEMS))
    c1, c2 = scaled(64, config.width), scaled(192, config.width)
    modules: list[nn.Module] = [
        _convolution(config.channels, c1, *_STEMS[config.stem], config),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        _convolution(c1, c1, 1, 1, config),
        _convolution(c1, c2, 3, 1, config),
    ]
    channels = c2
    for stage in (_STAGE_3, _STAGE_4, _STAGE_5):
        modules.append(nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
        for paths in stage:
            scaled_paths = _scale(paths, config.width)
            modules.append(Inception(channels, scaled_paths, config))
            one, three, five, pool = scaled_paths
            channels = one + three[1] + five[1] + pool
    return nn.Sequential(
        *modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, config.classes)
    )


def _scale(paths: _Paths, width: float) -> _Paths:
    one, three, five, pool = paths
    return (
        scaled(one, width),
        (scaled(three[0], width), scaled(three[1], width)),
        (scaled(five[0], width), scaled(five[1], width)),
        scaled(pool, width),
    )


def _convolution(
    channels: int, out: int, kernel: int, stride: int, config: Config
) -> nn.Sequential:
    modules: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2)
    ]
    if config.batch_norm:
        modules.append(nn.BatchNorm2d(out))
    return nn.Sequential(*modules, activation(config.activation))


ARCHITECTURE = Architecture("googlenet", recognize.TASK, Config, build)
