"""What must be put behind a graph or a module so that it gives what its task wants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dlkit.errors import ExportError
from dlkit.export.run_graph import run_graph
from dlkit.export.sample import graph_samples

# Ends of a graph whose values are probabilities already, or a choice.
_PROBABILITIES = frozenset({"Softmax", "Sigmoid", "Hardmax"})
_PASSED = frozenset(
    {"Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Clip",
     "Dropout", "QuantizeLinear", "DequantizeLinear"}
)  # fmt: skip
_ROUNDED = 0.01  # of a sum: half precision, eight bits


def ends_of(model: ir.Model, gives: str) -> tuple[str, ...]:
    """What makes of a tidied graph's output what its task wants, in order.

    Probabilities are known by the operator that they come from; of others by what they are on
    random inputs: none below 0, and each sample's sum 1, or 100 (per cent).

    Args:
        gives: see ``Task.gives``.

    Raises:
        ExportError: it cannot become that.
    """
    if gives == "arrays":
        return ()
    if len(model.graph.outputs) != 1:
        names = ", ".join(str(one.name) for one in model.graph.outputs)
        raise ExportError(
            f"the graph has {len(model.graph.outputs)} outputs ({names}), an image task needs one",
            "Export it to tensors, or anew with one output",
        )
    output = model.graph.outputs[0]
    if gives == "pixels":
        if output.dtype == ir.DataType.UINT8:
            return ()
        if output.shape is None or len(output.shape) != 4:
            raise ExportError(
                f"{output.name} is {output.shape}, expected images (N, C, H, W)",
                "Export it to tensors",
            )
        return ("pixels",)
    ends = []
    shape = output.shape
    if shape is not None and len(shape) > 2 and all(size == 1 for size in shape[2:]):
        ends.append("flatten")
    maker = output.producer()
    while maker is not None and maker.op_type in _PASSED and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer()
    if maker is not None and maker.op_type == "LogSoftmax":
        ends.append("exp")
    elif maker is None or maker.op_type not in _PROBABILITIES:
        whole = sum_of_rows(_outputs(model))
        ends += {1: [], 100: ["percent"]}.get(whole or 0, ["softmax"])
    return tuple(ends)


def sum_of_rows(arrays: Iterable[NDArray[Any]]) -> int | None:
    """What each sample's values sum up to, (N, classes) or with axes of 1 behind: 1 or 100, where
    they are probabilities; None: they are not."""
    found: set[int | None] = set()
    for array in arrays:
        rows = array.astype(np.float64).reshape(len(array), -1)
        if not np.isfinite(rows).all():
            continue
        if rows.shape[1] < 2 or (rows < 0).any():
            return None
        for whole in rows.sum(axis=1):
            found.add(next((one for one in (1, 100) if abs(whole - one) <= _ROUNDED * one), None))
    return found.pop() if len(found) == 1 else None


def _outputs(model: ir.Model) -> Iterable[NDArray[Any]]:
    """What the graph gives on random inputs, where ONNX Runtime can run it."""
    for feeds in graph_samples(model):
        try:
            (found,) = run_graph(model, [feeds])
        except Exception:  # ONNX Runtime's own: nobody knows
            continue
        yield from (array for array in found.values() if array.ndim)
