"""ResNet-18 (He et al., 2015): residual blocks of two 3 x 3 convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from dlkit.plugins import unknown
from dlkit.tasks import recognize
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import ClassifierConfig, activation, scaled

# (channels, stride of the first block) of the four stages, two blocks each.
_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
_BLOCKS_PER_STAGE = 2
# ONNX Runtime has fast convolutions on the CPU only for channels in multiples of four: the reader
# with 16, 28, 56 and 112 takes 0.4 of the time that it takes with 14, 28, 55 and 110 (measured).
_CHANNELS = 4
# (kernel, stride) of stems that are a single convolution.
_STEMS = {"small": (3, 1), "half": (5, 2)}


@dataclass(frozen=True)
class Config(ClassifierConfig):
    """See ``ClassifierConfig``.

    Attributes:
        stem: ``imagenet`` halves twice (7 x 7 stride 2, then pooling); ``small`` keeps the size
            (3 x 3 stride 1), for images of about 32 pixels; ``half`` halves once (5 x 5 stride 2).
    """

    image_size: int = 96
    stem: str = "imagenet"


class Residual(nn.Module):
    """Two convolutions and a shortcut, projected by 1 x 1 where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int, config: Config) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, kernel_size=3, padding=1, stride=stride)
        self.bn1 = nn.BatchNorm2d(out)
        self.act1 = activation(config.activation)
        self.conv2 = nn.Conv2d(out, out, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(out)
        self.act2 = activation(config.activation)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Conv2d(channels, out, kernel_size=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(y + self.shortcut(x))  # type: ignore[no-any-return]


def build(config: Config) -> nn.Module:
    """Stem, eight residual blocks, global average pooling, logits."""
    channels = _channels(64, config)
    if config.stem == "imagenet":
        modules: list[nn.Module] = [
            nn.Conv2d(config.channels, channels, kernel_size=7, stride=2, padding=3),
            nn.BatchNorm2d(channels),
            activation(config.activation),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        ]
    elif config.stem in _STEMS:
        kernel, stride = _STEMS[config.stem]
        modules = [
            nn.Conv2d(config.channels, channels, kernel, stride, padding=kernel // 2),
            nn.BatchNorm2d(channels),
            activation(config.activation),
        ]
    else:
        raise unknown("stem", config.stem, ["imagenet", *_STEMS])
    for wide, first_stride in _STAGES:
        out = _channels(wide, config)
        for block in range(_BLOCKS_PER_STAGE):
            modules.append(Residual(channels, out, first_stride if block == 0 else 1, config))
            channels = out
    return nn.Sequential(
        *modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, config.classes)
    )


def _channels(wide: int, config: Config) -> int:
    """So many of a layer, times the width, rounded up to a multiple of four."""
    return -(-scaled(wide, config.width) // _CHANNELS) * _CHANNELS


ARCHITECTURE = Architecture("resnet", recognize.TASK, Config, build)
