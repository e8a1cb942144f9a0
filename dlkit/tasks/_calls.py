"""Arrays of many samples as calls of a graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dlkit.spec import ModelSpec
from dlkit.tasks._arrays import check_arrays
from dlkit.tasks._data import Feeds, batch_of

_ANY = "samples"  # what a fixed batch is called in messages: parts of it are filled up


def calls(
    spec: ModelSpec, given: Iterable[Feeds], count: int | None = None, step: int | None = None
) -> list[Feeds]:
    """Arrays in calls that a graph takes: of a fixed batch in parts of its size, the last of which
    may have fewer samples, since sessions fill it up; where its first axes do not count samples, as
    they are.

    Args:
        given: arrays by the inputs' names; read no further than ``count`` needs.
        count: most samples of all.
        step: most samples of a call of a graph that takes any number; by default as they are given.

    Raises:
        InputError: arrays that do not fit.
    """
    found: list[Feeds] = []
    left = count
    for feeds in given:
        check_arrays(_any_number(spec), feeds)
        parts = _parts(spec, feeds, left, step)
        found += parts
        if left is not None:
            left -= sum(map(batch_of, parts))
            if left <= 0:
                break
    return found


def _parts(spec: ModelSpec, feeds: Feeds, count: int | None, step: int | None) -> list[Feeds]:
    firsts = {one.shape[0] if one.shape else 0 for one in spec.inputs}
    size = spec.fixed_batch
    if size is None and (len(firsts) != 1 or not isinstance(next(iter(firsts)), str)):
        return [feeds]
    samples = batch_of(feeds)
    end = samples if count is None else min(samples, count)
    size = size or step or max(end, 1)
    return [
        {name: array[at : min(at + size, end)] for name, array in feeds.items()}
        for at in range(0, max(end, 1), size)
    ]


def _any_number(spec: ModelSpec) -> ModelSpec:
    if spec.fixed_batch is None:
        return spec
    free = tuple(replace(one, shape=(_ANY, *one.shape[1:])) for one in spec.inputs)
    return replace(spec, inputs=free)
