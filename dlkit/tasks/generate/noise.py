"""What a generator begins with: noise by numpy, so that every backend makes the same pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.given import number_of, whole_of

_LEAST_TRUNCATION = 0.1  # below it nearly all noise would be drawn again and again
Codes = NDArray[np.float32]


def codes(
    count: int,
    latent: int,
    seed: int,
    classes: NDArray[Any] | None = None,
    of: int = 0,
    truncation: float | None = None,
) -> Codes:
    """What a generator takes: noise, and behind it one 1 among zeros for the class.

    Each row depends on the seed and its number alone: more rows begin with the same ones.

    Args:
        latent: numbers of noise.
        classes: index of the class of each row, where the network knows ``of`` of them.
        truncation: noise beyond plus and minus this is drawn again (Brock et al., arXiv
            1809.11096): pictures nearer to what is usual, and fewer kinds of them.

    Returns:
        float32 (count, latent + of).

    Raises:
        UsageError: a count below 1, a negative seed, a truncation below 0.1, or no numbers.
    """
    count, seed = whole_of(count, "count"), whole_of(seed, "seed", 0)
    if truncation is not None:
        truncation = number_of(truncation, "truncation", _LEAST_TRUNCATION)
    found = np.zeros((count, latent + of), np.float32)
    for row in range(count):
        random = np.random.default_rng((seed, row))
        noise = random.standard_normal(latent, dtype=np.float32)
        if truncation is not None:
            while (wide := np.abs(noise) > truncation).any():
                noise[wide] = random.standard_normal(int(wide.sum()), dtype=np.float32)
        found[row, :latent] = noise
    if classes is not None:
        found[np.arange(count), latent + np.asarray(classes)] = 1
    return found


def between(first: Codes, last: Codes, latent: int, steps: int) -> Codes:
    """The way from one code to another, both ends among the steps.

    Noise goes along the sphere (Shoemake 1985; White, arXiv 1609.04468), since what lies straight
    between two is shorter than noise ever is; classes fade into each other.

    Args:
        first, last: float32 (latent + classes,).

    Returns:
        float32 (steps, latent + classes).
    """
    shares = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    found = first + shares * (last - first)
    one, other = first[:latent], last[:latent]
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    angle = np.arccos(np.clip(one @ other / max(float(lengths), 1e-12), -1, 1))
    if np.sin(angle) > 1e-6:
        found[:, :latent] = (
            np.sin((1 - shares) * angle) * one + np.sin(shares * angle) * other
        ) / np.sin(angle)
    return found.astype(np.float32)
