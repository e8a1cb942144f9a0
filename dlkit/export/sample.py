"""Small inputs that a graph takes: to count what it computes, and to see its ranges."""

from __future__ import annotations

from dlkit.spec import ModelSpec
from dlkit.tasks import Feeds
from dlkit.tasks.tensors import random_feeds, sized

SIZE = 96  # of a free axis, about


def blank_sizes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of one sample, by the inputs' names; free axes but the first have about 96."""
    return sized(spec, 1, SIZE)


def random_samples(spec: ModelSpec) -> list[Feeds]:
    """A sample of random values, and one of ones where those are no indices of the graph."""
    sizes = blank_sizes(spec)
    return [random_feeds(spec, sizes, seed) for seed in (0, None)]
