"""Two sets of points beside each other: how alike they are, and whether one covers the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.tasks.generate.neighbours import squared_distances

NEIGHBOURS = 5  # Naeem et al., arXiv 2002.09797
_ROWS = 1000  # at a time: 10,000 points have 400 MB of distances

Points = NDArray[np.float32]


def frechet_distance(one: Points, other: Points) -> float:
    """Fréchet's distance of the normal distributions that fit two sets (Heusel et al., arXiv
    1706.08500): |m1 - m2|^2 + trace(S1 + S2 - 2 sqrt(S1 S2)).

    Args:
        one, other: (N, D) and (M, D).
    """
    first, second = (np.asarray(points, np.float64) for points in (one, other))
    gap = ((first.mean(0) - second.mean(0)) ** 2).sum()
    spread, spread_other = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values, vectors = np.linalg.eigh(spread)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ spread_other @ root).clip(0)).sum()
    return float(gap + np.trace(spread) + np.trace(spread_other) - 2 * shared)


def neighbourhoods(real: Points, made: Points, neighbours: int = NEIGHBOURS) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al., arXiv 1904.06991), density and coverage (Naeem et
    al., arXiv 2002.09797), each with balls up to the ``neighbours``-th neighbour of their own kind.

    Args:
        real, made: (N, D) and (M, D), more than ``neighbours`` each.

    Returns:
        precision: share of the made ones inside a real one's ball; recall: the other way round;
        density: real balls that a made one is in, as a share of ``neighbours``, the mean; coverage:
        share of the real ones whose ball has a made one in it.
    """
    real_radius, made_radius = _radii(real, neighbours), _radii(made, neighbours)
    inside = np.zeros(len(made), np.int64)
    recalled, covered = [], []
    for at, distances in _blocks(real, made):
        inside += (distances <= real_radius[at : at + len(distances), None]).sum(0)
        recalled.append((distances <= made_radius).any(1))
        covered.append(distances.min(1) <= real_radius[at : at + len(distances)])
    return {
        "precision": float((inside > 0).mean()),
        "recall": float(np.concatenate(recalled).mean()),
        "density": float(inside.mean() / neighbours),
        "coverage": float(np.concatenate(covered).mean()),
    }


def nearest(points: NDArray[Any], among: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Place and squared distance of the nearest of ``among`` to each point."""
    places, distances = [], []
    for _, block in _blocks(points, among):
        places.append(block.argmin(1))
        distances.append(block.min(1))
    return np.concatenate(places), np.concatenate(distances)


def _radii(points: Points, neighbours: int) -> NDArray[np.float32]:
    found = [np.partition(block, neighbours, axis=1)[:, neighbours]  # itself is the nearest
             for _, block in _blocks(points, points)]  # fmt: skip
    return np.concatenate(found)


def _blocks(one: NDArray[Any], other: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for at in range(0, len(one), _ROWS):
        yield at, squared_distances(one[at : at + _ROWS], other)
