"""The moving average of a network's weights."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


def moving_average(
    network: nn.Module, decay: float, growing: bool = True, start: bool = True
) -> AveragedModel:
    """A copy of a network that follows it, exponentially.

    Statistics of batch normalisation are averaged like weights: they belong to them; counters are
    copied.

    Args:
        decay: share of the old average in the new one.
        growing: the memory grows from short, so that the start is forgotten.
        start: the fresh weights are the first of the average; else those after a step are.
    """

    @torch.no_grad()
    def follow(mine: Tensors, its: Tensors, _: Tensor | int) -> None:
        if not mine[0].is_floating_point():
            torch._foreach_copy_(mine, its)
            return
        count = int(average.n_averaged)  # it is on the CPU: nobody waits for a GPU
        memory = min(decay, (1 + count) / (10 + count)) if growing else decay
        torch._foreach_lerp_(mine, its, 1 - memory)

    average = AveragedModel(network, multi_avg_fn=follow, use_buffers=True)
    average.requires_grad_(False)
    average.n_averaged += int(start)
    return average
