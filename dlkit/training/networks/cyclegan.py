"""CycleGAN's generator: Johnson's residual network (Zhu et al., arXiv 1703.10593)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from dlkit.tasks import denoise
from dlkit.training.architecture import Architecture
from dlkit.training.networks._common import scaled
from dlkit.training.networks.dcgan import normal

MULTIPLE_OF = 4  # two halvings


@dataclass(frozen=True)
class Config:
    """What can be chosen.

    Attributes:
        width: factor on every layer's channels: 64, 128, 256.
        blocks: residual blocks at a quarter of the resolution: 9 in the paper for 256 x 256 and
            more, 6 for 128 x 128.
        normalize: instance normalisation. It measures the picture that it is given: a network that
            is trained on crops and used on whole scans does better without.
        channels: 1 for grey images, 3 for colour; 0 takes the data's.
    """

    width: float = 1.0
    blocks: int = 9
    normalize: bool = True
    channels: int = 0


class Block(nn.Module):
    """Two 3 x 3 convolutions, added to what came: (N, C, H, W) to the same."""

    def __init__(self, channels: int, normalize: bool) -> None:
        super().__init__()
        self.model = nn.Sequential(
            *_conv(channels, channels, 3, normalize), *_conv(channels, channels, 3, normalize)[:-1]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Without an activation behind the sum."""
        return x + self.model(x)  # type: ignore[no-any-return]


class Translator(nn.Module):
    """An image of one side in, one of the other out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c1, c2, c3 = (scaled(channels, config.width) for channels in (64, 128, 256))

        normalize = config.normalize

        def up(channels: int, out: int) -> list[nn.Module]:
            double = nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)
            return [double, *_after(out, normalize)]

        self.model = nn.Sequential(
            *_conv(config.channels, c1, 7, normalize),
            *_conv(c1, c2, 3, normalize, stride=2),
            *_conv(c2, c3, 3, normalize, stride=2),
            *(Block(c3, normalize) for _ in range(config.blocks)),
            *up(c3, c2),
            *up(c2, c1),
            nn.Conv2d(c1, config.channels, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W), 0 to 1, H and W multiples of 4; to the same."""
        return (self.model(2 * x - 1) + 1) / 2  # type: ignore[no-any-return]


def _conv(
    channels: int, out: int, kernel: int, normalize: bool, stride: int = 1
) -> list[nn.Module]:
    conv = nn.Conv2d(
        channels, out, kernel, stride=stride, padding=kernel // 2,
        padding_mode="reflect" if stride == 1 else "zeros",
    )  # fmt: skip
    return [conv, *_after(out, normalize)]


def _after(channels: int, normalize: bool) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.InstanceNorm2d(channels, affine=True)] if normalize else []
    return [*layers, nn.ReLU()]


def build(config: Config) -> nn.Module:
    """The generator, with DCGAN's start where it has normalisation to go with it."""
    generator = Translator(config)
    if config.normalize:
        generator.apply(normal)
    return generator


ARCHITECTURE = Architecture("cyclegan", denoise.TASK, Config, build, multiple_of=MULTIPLE_OF)
