"""Small inputs that a graph takes: to count what it computes, and to see its ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import onnx
import onnx_ir as ir

from dlkit.export.run_graph import run_graph
from dlkit.export.trace import graph_tensors
from dlkit.graph.measure import Measurement, measure_first
from dlkit.graph.tidy import tidied
from dlkit.spec import ModelSpec
from dlkit.tasks import Feeds
from dlkit.tasks.tensors import random_feeds, sized

Sizes = Mapping[str, Sequence[int]]
# Of a free axis, about: a picture's; of sound, a window's, and a second's at 16 kHz.
SIZES = (96, 1024, 16_384)
_LARGEST = 1 << 26  # elements of a tensor of what is only tried: 256 MB


def measured(
    graph: bytes | ir.Model,
    spec: ModelSpec,
    within: Callable[[Sizes], Sizes] = lambda sizes: sizes,
    fits: Callable[[Measurement], bool] = lambda found: True,
) -> Measurement:
    """What one sample costs, in the first of ``SIZES`` that fits.

    Args:
        graph: bytes of an ONNX file, or a tidied graph.
        within: shapes of the graph's own inputs, where those are not the spec's.
        fits: whether the graph takes inputs of such sizes, as far as shapes do not tell.
    """
    if isinstance(graph, bytes):
        graph = tidied(ir.from_proto(onnx.load_from_string(graph)))
    tries = (sized(spec, 1, size, states) for size in SIZES for states in (False, True))
    return measure_first(graph, map(within, tries), fits)


def random_samples(graph: ir.Model, spec: ModelSpec) -> list[Feeds]:
    """A sample of random values, and one of ones where those are no indices of the graph; of sizes
    that ONNX Runtime can run, where some of ``SIZES`` are and no tensor becomes very large."""
    free = any(isinstance(axis, str) for one in spec.inputs for axis in one.shape)

    def samples(sizes: Sizes) -> list[Feeds]:
        return [random_feeds(spec, sizes, seed) for seed in (0, None)]

    def runs(found: Measurement) -> bool:
        if not free or found.largest > _LARGEST:
            return not free
        for feeds in samples(found.sizes):
            with suppress(Exception):  # ONNX Runtime's own
                run_graph(graph, [feeds])
                return True
        return False

    return samples(measured(graph, spec, fits=runs).sizes)


def graph_samples(graph: ir.Model) -> list[Feeds]:
    """``random_samples`` of a tidied graph that nobody described.

    Raises:
        ExportError: a type or a rank is not noted in it.
    """
    return random_samples(graph, ModelSpec("graph", "tensors", "fp32", *graph_tensors(graph)))
