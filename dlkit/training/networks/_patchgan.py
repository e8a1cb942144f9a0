"""The PatchGAN of pix2pix and CycleGAN (Isola et al., arXiv 1611.07004); for training alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from dlkit.training.networks._common import scaled
from dlkit.training.networks.dcgan import normal


@dataclass(frozen=True)
class PatchCriticConfig:
    """What can be chosen of the critic; it has leaky ReLU with slope 0.2.

    Attributes:
        width: factor on every hidden layer's channels.
        layers: halvings: with 3, the paper's, each score is of a patch of 70 x 70 pixels, with 2 of
            34 x 34, with 1 of 16 x 16.
        normalize: instance normalisation.
    """

    width: float = 1.0
    layers: int = 3
    normalize: bool = True


class PatchCritic(nn.Module):
    """Scores how real each patch of an image looks."""

    def __init__(self, config: PatchCriticConfig, channels: int) -> None:
        super().__init__()
        wide = [channels, *(scaled(64 * 2 ** min(at, 3), config.width)
                            for at in range(config.layers + 1))]  # fmt: skip
        modules: list[nn.Module] = []
        for at in range(config.layers + 1):
            stride = 2 if at < config.layers else 1
            modules.append(nn.Conv2d(wide[at], wide[at + 1], 4, stride=stride, padding=1))
            if at and config.normalize:
                modules.append(nn.InstanceNorm2d(wide[at + 1]))
            modules.append(nn.LeakyReLU(0.2))
        modules.append(nn.Conv2d(wide[-1], 1, 4, padding=1))
        self.model = nn.Sequential(*modules)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W), 0 to 1, at least 32 x 32; gives scores (N, 1, h, w)."""
        return self.model(2 * x - 1)  # type: ignore[no-any-return]


def build_patch_critic(config: PatchCriticConfig, channels: int) -> nn.Module:
    """The critic, for so many channels, with DCGAN's start."""
    critic = PatchCritic(config, channels)
    critic.apply(normal)
    return critic
