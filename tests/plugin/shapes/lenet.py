"""A network in a file whose name dlkit has for another one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from dlkit import Architecture
from shapes.task import TASK


@dataclass(frozen=True)
class Config:
    """Channels of the hidden layers."""

    channels: int = 8


def build(config: Config) -> nn.Module:
    """float32 (N, 1, H, W), 0 to 1, to logits of disc and background (N, 2, H, W)."""
    return nn.Sequential(
        nn.Conv2d(1, config.channels, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(config.channels, config.channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(config.channels, 2, 1),
    )


NET = Architecture("shapes_net", TASK, Config, build, multiple_of=4)
