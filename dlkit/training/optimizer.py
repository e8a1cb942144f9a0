"""The optimizer of a classifier and the schedule of its learning rate, by its recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from dlkit.errors import UsageError
from dlkit.plugins import unknown

if TYPE_CHECKING:
    from dlkit.training.trainers.classify import ClassifyRecipe


def build_optimizer(
    recipe: ClassifyRecipe, network: nn.Module, precision: str
) -> torch.optim.Optimizer:
    """As the recipe has it; weight decay for weights alone.

    Raises:
        UsageError: unknown optimizer.
    """
    weights = [one for one in network.parameters() if one.ndim > 1]
    others = [one for one in network.parameters() if one.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if not recipe.weight_decay:  # one group is updated in one call
        groups = [{"params": weights + others, "weight_decay": 0.0}]
    fused = precision != "fp16"  # a fused step would unscale by itself, after the clipping
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.momentum > 0, fused=fused
        )
    if recipe.optimizer == "adam":
        return torch.optim.AdamW(groups, recipe.learning_rate, fused=fused)
    raise UsageError(unknown("optimizer", recipe.optimizer, ["sgd", "adam"]))


def build_schedule(
    recipe: ClassifyRecipe, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Of the learning rate, over all ``steps`` of a training.

    Raises:
        UsageError: unknown schedule.
    """
    if recipe.schedule == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    if recipe.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.learning_rate, total_steps=steps + 1, pct_start=recipe.warmup
        )
    raise UsageError(unknown("schedule", recipe.schedule, ["constant", "one_cycle"]))
