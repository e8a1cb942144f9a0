"""How large values are, and what half precision leaves of them: of arrays, and inside of graphs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

OPSET = 11  # from which graphs can say it
NUMBERS = 5  # of an extent in a graph


@dataclass(frozen=True)
class Extent:
    """Of the finite values of a tensor; infinities stay what they are.

    Attributes:
        count: how many values, 0 of what was not computed.
        largest: magnitude.
        squares: their sum.
        gone: sum of the squares of what rounding to half precision changes.
        vanishes: half precision makes 0 of a value that is not.
    """

    count: float
    largest: float
    squares: float
    gone: float
    vanishes: bool

    def why(self, most: float, loss: float, name: str) -> str | None:
        """Why such a tensor does not fit; None when it does.

        Args:
            most: largest number of the half precision called ``name``.
            loss: share of the root of squares that may change.
        """
        if self.largest > most:
            return f"reaches {self.largest:.3g}, {name} ends at {most:.4g}"
        if self.squares == 0 or (gone := math.sqrt(self.gone / self.squares)) <= loss:
            return None
        return f"is {self.largest:.3g} at most, {name} changes it by {gone:.0%}"


def extent(array: NDArray[Any], kind: np.dtype[Any]) -> Extent:
    """Of an array, for float16 or bfloat16."""
    values = array[np.isfinite(array)]
    with np.errstate(over="ignore", invalid="ignore"):
        low = values.astype(kind)
        gone = values.astype(np.float64) - low.astype(np.float64)
        return Extent(
            count=values.size,
            largest=float(np.abs(values).max(initial=0)),
            squares=float(np.square(values.astype(np.float64)).sum()),
            gone=float(np.square(gone).sum()),
            vanishes=bool(((values != 0) & (low == 0)).any()),
        )


def joined(numbers: NDArray[Any]) -> Extent:
    """Of what a graph gave, in all turns of its loops: floats (..., 5)."""
    rows = numbers.reshape(-1, NUMBERS)
    count, _, squares, gone, vanish = (float(one) for one in rows.sum(axis=0))
    return Extent(count, float(rows[:, 1].max(initial=0)), squares, gone, vanish > 0)


def extent_nodes(value: ir.Value, low: ir.DataType, name: str) -> list[ir.Node]:
    """Nodes that compute the extent of a float32 tensor; the last one gives float64 (5,).

    Args:
        low: the half precision.
        name: what their tensors' names begin with.
    """
    count = 0

    def make(operator: str, *inputs: ir.Value, **attributes: Any) -> ir.Node:
        nonlocal count
        made = ir.node(operator, list(inputs), attributes)
        made.outputs[0].name = f"{name}_{count}"
        count += 1
        return made

    def constant(array: NDArray[Any]) -> ir.Node:
        return make("Constant", value=ir.tensor(array))

    def cast(taken: ir.Value, to: ir.DataType) -> ir.Node:
        return make("Cast", taken, to=int(to))

    nodes: list[ir.Node] = []

    def give(node: ir.Node) -> ir.Value:
        nodes.append(node)
        return node.outputs[0]

    double = ir.DataType.DOUBLE
    zero = give(constant(np.zeros(1, np.float32)))
    flat = give(make("Reshape", value, give(constant(np.array([-1])))))
    strange = give(make("Or", give(make("IsInf", flat)), give(make("IsNaN", flat))))
    finite = give(make("Where", strange, zero, flat))
    some = give(make("Concat", finite, zero, axis=0))  # a largest one needs one at least
    rounded = give(cast(give(cast(some, low)), ir.DataType.FLOAT))
    wide = give(cast(some, double))
    gone = give(make("Sub", wide, give(cast(rounded, double))))
    gave = give(make("Not", give(make("Equal", some, zero))))
    lost = give(make("And", gave, give(make("Equal", rounded, zero))))
    parts = [
        give(cast(give(make("Shape", flat)), double)),
        give(make("ReduceMax", give(make("Abs", wide)), keepdims=1)),
        give(make("ReduceSum", give(make("Mul", wide, wide)), keepdims=1)),
        give(make("ReduceSum", give(make("Mul", gone, gone)), keepdims=1)),
        give(make("ReduceMax", give(cast(lost, double)), keepdims=1)),
    ]
    give(make("Concat", *parts, axis=0))
    return nodes
