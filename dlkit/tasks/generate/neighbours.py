"""Generated images beside real ones by their neighbours: quick, without a network, in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_NEIGHBOURS = 5  # Naeem et al., arXiv 2002.09797


def squared_distances(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float32]:
    """Of every row to every row: float32 (N, M).

    Args:
        one, other: (N, ...) and (M, ...), flattened.
    """
    first, second = (np.asarray(side, np.float32).reshape(len(side), -1) for side in (one, other))
    lengths = (first**2).sum(1)[:, None] + (second**2).sum(1)
    return np.asarray(np.maximum(lengths - 2 * first @ second.T, 0))


def nearest_labels(
    real: NDArray[np.uint8], labels: NDArray[np.int64], made: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """The label of the nearest real image of each: int64 (N,)."""
    return np.asarray(labels[squared_distances(made, real).argmin(1)])


def coverage(real: NDArray[Any], made: NDArray[Any], neighbours: int = _NEIGHBOURS) -> float:
    """Share of the real ones whose neighbourhood, up to its k-th real neighbour, holds a made one
    (Naeem et al., arXiv 2002.09797): 1 where every kind of image is made."""
    if len(real) <= neighbours:
        return 0.0
    among = squared_distances(real, real)
    radius = np.partition(among, neighbours, axis=1)[:, neighbours]  # itself is the nearest
    return float((squared_distances(real, made).min(1) <= radius).mean())
