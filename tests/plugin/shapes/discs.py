"""Noisy images with a bright disc, and where it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIDE = 32


def discs(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images and masks of 0 and 1: uint8 (count, SIDE, SIDE)."""
    random = np.random.default_rng(seed)
    place = np.arange(SIDE)
    images, masks = [], []
    for _ in range(count):
        y, x, radius = random.uniform(8, 24), random.uniform(8, 24), random.uniform(4, 8)
        mask = (place[:, None] - y) ** 2 + (place - x) ** 2 < radius**2
        noise = random.normal(60, 12, (SIDE, SIDE))
        images.append((noise + 110 * mask).clip(0, 255).astype(np.uint8))
        masks.append(mask.astype(np.uint8))
    return np.stack(images), np.stack(masks)
