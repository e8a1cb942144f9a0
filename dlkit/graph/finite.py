"""Weights of a graph that are no numbers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from dlkit.graph.tidy import FLOATS


def nan_weights(model: ir.Model) -> list[str]:
    """Names of weights that hold NaN. A single number may be meant so: what a mask fills in."""
    return _holding(model, np.isnan)


def infinite_weights(model: ir.Model) -> list[str]:
    """Names of weights that hold an infinity, which is right in a mask alone."""
    return _holding(model, np.isinf)


def _holding(model: ir.Model, what: np.ufunc) -> list[str]:
    return [
        str(name)
        for graph in model.graphs()
        for name, value in graph.initializers.items()
        if value.const_value is not None
        and value.const_value.size > 1
        and value.const_value.dtype in FLOATS
        and what(value.const_value.numpy()).any()
    ]
