"""Refuse a graph whose arithmetic or weights are not in the precision that it is called by.

Counted on the graph, before it is written. ``layers`` counts the same on the network that TensorRT
makes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir

from dlkit.errors import ExportError
from dlkit.export.proof.layers import REQUIRED
from dlkit.export.sample import measured
from dlkit.graph.measure import Layer, Measurement
from dlkit.spec import ModelSpec

_NAMED = 5  # layers that an error names


class PrecisionError(ExportError):
    """Too little of a graph is in its precision.

    Attributes:
        nodes: names of the nodes that are not, those with most arithmetic first: with all of them
            in a list for ``--keep-fp32``, the graph passes.
    """

    def __init__(self, what: str, mend: str, nodes: list[str]) -> None:
        super().__init__(what, mend)
        self.nodes = nodes


def check_precision(
    graph: bytes | ir.Model,
    spec: ModelSpec,
    kept: Collection[str] = (),
    left: Mapping[str, str] | None = None,
) -> Measurement:
    """Count a graph and refuse it if too little is in the precision that its spec says.

    Args:
        graph: bytes of an ONNX file, or a tidied graph.
        kept: names of nodes that somebody asked to stay float32; the demand is on the others.
        left: why nodes stay float32, by name.

    Returns:
        What was counted.

    Raises:
        PrecisionError: too few of the multiply-adds or of the weights are in it; names the nodes.
    """
    counted = measured(graph, spec)
    demanded = counted.without(kept)
    needed = REQUIRED[spec.precision]
    work, weights = demanded.shares(spec.precision)
    if spec.precision in ("int8", "fp32"):
        weights = 1.0  # int8 leaves layers out, and float32 may be computed of smaller weights
    if min(work, weights) >= needed:
        return counted
    others = sorted(
        (one for one in demanded.layers if one.dtype != spec.precision
         and (one.multiply_adds or not demanded.multiply_adds.total())),
        key=lambda one: -one.operations,
    )  # fmt: skip
    holding = [name for one in sorted(demanded.weights, key=lambda one: -one.elements)
               if one.dtype != spec.precision for name in one.nodes]  # fmt: skip
    nodes = list(dict.fromkeys([*(one.name for one in others), *holding]))
    layers = {one.name: one for one in demanded.layers}
    named = "; ".join(_named(name, layers.get(name), left or {}) for name in nodes[:_NAMED])
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    raise PrecisionError(
        f"{spec.name}: asked for {spec.precision}, but only {work:.1%} of the multiply-adds and "
        f"{weights:.1%} of the weights are {spec.precision}, {needed:.0%} are needed; not so: "
        f"{named}{more}",
        "Name these nodes in a list for --keep-fp32, or use another precision",
        nodes,
    )


def _named(name: str, layer: Layer | None, left: Mapping[str, str]) -> str:
    why = f": {left[name]}" if name in left else ""
    return f"{layer.operator} {name} ({layer.dtype}{why})" if layer else f"{name} (weights{why})"
