"""What an ONNX graph holds: read whole, tidied, and counted without any inference library."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Shapes: TypeAlias = Mapping[str, Sequence[int]]


def multiply_adds(path: Path, shape: Sequence[int] | Shapes) -> int | None:
    """Multiply-adds of one call: of convolutions and matrix products, which are nearly all of it.

    Args:
        path: an ONNX file.
        shape: of its one input, or of each input by name.

    Returns:
        None where the packages that read graphs are not installed, or a shape cannot be told.
    """
    if importlib.util.find_spec("onnx_ir") is None or importlib.util.find_spec("onnx") is None:
        return None
    from dlkit.graph.measure import measure
    from dlkit.graph.read import read_graph
    from dlkit.graph.tidy import tidied

    graph = tidied(read_graph(path))
    given = shape if isinstance(shape, Mapping) else {str(graph.graph.inputs[0].name): shape}
    found = measure(graph, given)
    return None if found.estimated else found.multiply_adds.total()
