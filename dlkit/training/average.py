"""An exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """A copy of a network that follows it.

    Its memory grows from short, so that the start is forgotten. Statistics of batch normalisation
    are averaged like weights: they belong to them; counters are copied.

    Attributes:
        network: the copy.
        updates: how often it has followed.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """One step towards the network."""
        self.updates += 1
        rate = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine, its = self.network.state_dict(), network.state_dict()
        floats = [name for name, tensor in mine.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([mine[name] for name in floats], [its[name] for name in floats], rate)
        for name in mine.keys() - set(floats):
            mine[name].copy_(its[name])
