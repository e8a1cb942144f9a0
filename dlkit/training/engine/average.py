"""The moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, compress

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """A copy of a network that follows it, exponentially.

    Statistics of batch normalisation are averaged like weights: they belong to them; counters are
    copied. torch's own update brings its count to the GPU each time, and waits for it.

    Args:
        decay: share of the old average in the new one.
        growing: the memory grows from short, so that the start is forgotten.
        start: the fresh weights are the first of the average; else those after a step are.
    """

    def __init__(
        self, network: nn.Module, decay: float, growing: bool = True, start: bool = True
    ) -> None:
        super().__init__(network, use_buffers=True)
        self.decay, self.growing = decay, growing
        self.requires_grad_(False)
        self.n_averaged += int(start)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Follow a network by one step."""
        count = int(self.n_averaged)  # it is on the CPU
        memory = min(self.decay, (1 + count) / (10 + count)) if self.growing else self.decay
        mine, its = list(_tensors(self.module)), list(_tensors(model))
        follows = [bool(count) and one.is_floating_point() for one in mine]
        copied = [not one for one in follows]
        if any(follows):
            torch._foreach_lerp_(
                list(compress(mine, follows)), list(compress(its, follows)), 1 - memory
            )
        if any(copied):
            torch._foreach_copy_(list(compress(mine, copied)), list(compress(its, copied)))
        self.n_averaged += 1


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())
