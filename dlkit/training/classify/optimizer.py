"""The optimizer of a classifier and the schedule of its learning rate, by its recipe."""

from __future__ import annotations

import torch
from torch import nn

from dlkit.training.classify.recipe import ClassifyRecipe, Optimizer


def build_optimizer(
    settings: Optimizer, network: nn.Module, precision: str
) -> torch.optim.Optimizer:
    """As the recipe has it; weight decay for weights alone."""
    weights = [one for one in network.parameters() if one.ndim > 1]
    others = [one for one in network.parameters() if one.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if not settings.weight_decay:  # one group is updated in one call
        groups = [{"params": weights + others, "weight_decay": 0.0}]
    fused = precision != "fp16"  # a fused step would unscale by itself, after the clipping
    rate, momentum = settings.learning_rate, settings.momentum
    if settings.name == "adam":
        return torch.optim.AdamW(groups, rate, fused=fused)
    return torch.optim.SGD(groups, rate, momentum, nesterov=momentum > 0, fused=fused)


def build_schedule(
    recipe: ClassifyRecipe, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Of the learning rate, over all ``steps`` of a training."""
    if recipe.schedule.name == "constant":
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        recipe.optimizer.learning_rate,
        total_steps=steps + 1,
        pct_start=recipe.schedule.warmup,
    )
