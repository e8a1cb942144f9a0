"""How far generated images are from real ones, quickly: while a training runs."""

from __future__ import annotations

import torch
from torch import Tensor

_DIRECTIONS = 256


def sliced_wasserstein(one: Tensor, other: Tensor) -> float:
    """Distance of two sets of as many points: 0 where they lie alike.

    The mean, over random directions, of the Wasserstein-1 distance of their projections (Rabin et
    al. 2011); the directions are the same each time.

    Args:
        one, other: float32 (N, D).
    """
    random = torch.Generator().manual_seed(0)
    directions = torch.randn(one.shape[1], _DIRECTIONS, generator=random).to(one.device)
    directions = directions / directions.norm(dim=0)
    first, second = ((points @ directions).sort(dim=0).values for points in (one, other))
    return float((first - second).abs().mean())
