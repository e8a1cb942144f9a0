"""Tensors that half precision cannot hold: they reach beyond it, or it rounds them to nothing, as a
whole or in channels that matter."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from dlkit.export.extent import extent
from dlkit.export.half import TYPES
from dlkit.export.inside import look
from dlkit.export.proof.channels import worst_channel
from dlkit.export.run_graph import run_graph
from dlkit.export.scaled import output_axis
from dlkit.graph.arithmetic import node_multiplies
from dlkit.graph.tidy import every_node
from dlkit.tasks import Feeds

# float16's own rounding is 2^-11 of a value, bfloat16's 2^-8; what loses more lies where the format
# has no more digits. Share of the tensor's root of squares.
_LOSS = 0.01
# What is added needs no digits of its own: only the sum does.
_ADDED = frozenset({"Add", "Sub", "Sum"})
_GUARDS = _ADDED | {"Max", "Clip", "Where"}
# What must not become 0 is their input of this place.
_DIVIDES = {"Div": 1, "Reciprocal": 0, "Log": 0, "Sqrt": 0}
# Inputs that nobody knows may be as large as that; weights which are smaller yet have died.
_DEAD = 1e-12
_BIAS = 2  # place of the bias among the inputs of convolutions and products


class Ranges(NamedTuple):
    """What half precision cannot hold.

    Attributes:
        lost: why, by the names of tensors.
        unseen: tensors of branches and loops that no sample shows, and that were not reached.
    """

    lost: dict[str, str]
    unseen: Collection[str]


def see_ranges(model: ir.Model, precision: str, samples: Sequence[Feeds]) -> Ranges:
    """Of a tidied float32 graph.

    Constants are looked at as they are, all others on samples, where ONNX Runtime can run the graph
    on them; each in the sample in which it is largest, since what cancels out in one of them (a
    sine of what does not change) is only what float32 left of it. Infinities stay what they are and
    are not looked at.

    Args:
        samples: inputs, one call each; may be empty.
    """
    kind = TYPES[precision][1]
    harmless = _harmless(model, kind)
    found = {name: why for name, why in _constants(model, kind) if name not in harmless}
    names = {
        str(value.name)
        for node in every_node(model)
        for value in node.outputs
        if value.dtype == ir.DataType.FLOAT and value.name
    }
    names |= {str(one.name) for one in model.graph.inputs if one.dtype == ir.DataType.FLOAT}
    divisors = {str(one.name) for node in every_node(model) if node.op_type in _DIVIDES
                if (one := node.inputs[_DIVIDES[node.op_type]]) is not None}  # fmt: skip
    seen = look(model, names, samples, precision, branches=True)
    found |= dict.fromkeys(divisors & seen.vanishing, f"is divided by, {kind.name} makes 0 of it")
    whys = {name: one.why(_largest(kind), _LOSS, kind.name) for name, one in seen.extents.items()}
    lost = {name: why for name, why in whys.items() if why is not None} | found
    return Ranges(_weak(model, kind, samples, lost) | lost, seen.unseen)


def unseen_inputs(model: ir.Model, precision: str) -> dict[str, str]:
    """Why weights lose what they take from single channels of the graph's inputs, by name.

    Random inputs do not show it: who gives a channel weights of 1e-8 may mean to feed it 1e8.
    """
    kind = TYPES[precision][1]
    ends = {one for one in model.graph.inputs if one.dtype == ir.DataType.FLOAT}
    found = {}
    for weight, array in _layer_weights(model):
        axis = output_axis(weight)
        if axis is None or not all(use.node.inputs[0] in ends for use in weight.uses()):
            continue
        convolves = next(iter(weight.uses())).node.op_type.startswith("Conv")
        taken = 1 - axis if convolves else array.ndim - 1 - axis if array.ndim == 2 else -2
        if (place := _weakest(array, taken, kind)) is not None:
            largest = float(np.abs(np.moveaxis(array, taken, 0)[place]).max())
            found[str(weight.name)] = (
                f"is {largest:.3g} at most for channel {place} of the input, which {kind.name} "
                "does not hold; whether that matters, only --data shows"
            )
    return found


def _weak(
    model: ir.Model, kind: np.dtype[Any], samples: Sequence[Feeds], known: Collection[str]
) -> dict[str, str]:
    """Weights with output channels that are lost in half precision, if that changes what the graph
    gives: most are filters that died in training, and nothing is to be done for them."""
    found: dict[ir.Value, ir.TensorProtocol] = {}
    why = {}
    for weight, array in _layer_weights(model):
        axis = output_axis(weight)
        place = None if axis is None or weight.name in known else _weakest(array, axis, kind)
        if place is not None and axis is not None and weight.const_value is not None:
            found[weight] = weight.const_value
            largest = float(np.abs(np.moveaxis(array, axis, 0)[place]).max())
            why[str(weight.name)] = (
                f"is {largest:.3g} at most in channel {place}, {kind.name} does not hold that"
            )
    if not found:
        return {}
    exact = ir.to_proto(model)
    for weight, tensor in found.items():
        weight.const_value = ir.tensor(
            tensor.numpy().astype(kind).astype(np.float32), name=weight.name
        )
    rounded = ir.to_proto(model)
    for weight, tensor in found.items():
        weight.const_value = tensor
    pairs = []
    for feeds in samples:
        try:
            pairs.append((run_graph(exact, [feeds])[0], run_graph(rounded, [feeds])[0]))
        except Exception:  # ONNX Runtime's own: these inputs do not fit, others may
            continue
    for name, first in pairs[0][0].items() if pairs else ():
        ours, theirs = [one[name] for one, _ in pairs], [one[name] for _, one in pairs]
        if first.dtype.kind != "f" or [one.shape for one in ours] != [one.shape for one in theirs]:
            continue
        if worst_channel(name, ours, theirs).error > _LOSS:
            return why
    return {}


def _layer_weights(model: ir.Model) -> Iterable[tuple[ir.Value, NDArray[Any]]]:
    for weight in model.graph.initializers.values():
        if weight.const_value is not None and weight.dtype == ir.DataType.FLOAT and weight.uses():
            yield weight, weight.const_value.numpy()


def _weakest(array: NDArray[Any], axis: int, kind: np.dtype[Any]) -> int | None:
    """The channel that half precision changes most, if by more than may be."""
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
    sizes = np.sqrt(np.square(rows).sum(axis=1))
    with np.errstate(over="ignore", invalid="ignore"):
        gone = np.sqrt(np.square(rows - rows.astype(kind).astype(np.float64)).sum(axis=1))
    shares = np.divide(
        gone, sizes, out=np.zeros_like(sizes), where=sizes > _DEAD * sizes.max(initial=0)
    )
    place = int(shares.argmax()) if shares.size else 0
    return place if shares.size and shares[place] > _LOSS else None


def _constants(model: ir.Model, kind: np.dtype[Any]) -> Iterable[tuple[str, str]]:
    guarded = set()
    for name, value in model.graph.initializers.items():
        if value.const_value is None or value.dtype != ir.DataType.FLOAT:
            continue
        array = value.const_value.numpy()
        if (why := _why(array, kind)) is None:
            continue
        yield name, why
        one_sign = array.size == 1 or bool((array > 0).all())  # of a bias both are there
        if one_sign and np.abs(array).max() < 1:
            guarded |= {use.node for use in value.uses()
                        if use.node.op_type in _GUARDS and _is_divided_by(use.node)}  # fmt: skip
    for node in every_node(model):  # before opset 11
        if node.op_type == "Clip" and "min" in node.attributes:
            least = np.array(node.attributes["min"].as_float())
            if abs(least) < 1 and _why(least.reshape(1), kind) is not None:
                guarded.add(node)
    # x + 1e-12, max(x, 1e-12): what comes out must not become 0 either, since it is divided by
    for node in guarded:
        for value in node.outputs:
            if value.name and not node_multiplies(node):
                yield value.name, f"{node.name} keeps it from 0"


def _is_divided_by(node: ir.Node) -> bool:
    """Whether something is divided by what a node gives, with no product in between."""
    found: set[ir.Node] = set()
    waiting = [node]
    while waiting:
        for value in waiting.pop().outputs:
            if value.is_graph_output():
                return True  # of a subgraph: who knows
            for use in value.uses():
                if _DIVIDES.get(use.node.op_type) == use.idx or use.node.op_type == "Pow":
                    return True
                if use.node not in found and not node_multiplies(use.node):
                    found.add(use.node)
                    waiting.append(use.node)
    return False


def _harmless(model: ir.Model, kind: np.dtype[Any]) -> set[str]:
    """Small biases: what they are added to has its own size."""
    used: dict[str, bool] = {}
    for node in every_node(model):
        for place, value in enumerate(node.inputs):
            if value is None or value.const_value is None:
                continue
            added = node.op_type in _ADDED or (place == _BIAS and node_multiplies(node))
            if value.const_value.size == 1:  # perhaps what keeps a divisor from 0
                added = added and not _is_divided_by(node)
            used[str(value.name)] = used.get(str(value.name), True) and added
    largest = _largest(kind)
    return {
        name
        for name, added in used.items()
        if added and (value := model.graph.initializers.get(name)) is not None
        and value.const_value is not None
        and value.dtype == ir.DataType.FLOAT
        and float(np.abs(value.const_value.numpy()).max(initial=0)) <= largest
    }  # fmt: skip


def _largest(kind: np.dtype[Any]) -> float:
    return float(ml_dtypes.finfo(kind).max)  # type: ignore[no-untyped-call]


def _why(array: NDArray[Any], kind: np.dtype[Any]) -> str | None:
    """Why a tensor does not fit; None when it does."""
    return extent(array, kind).why(_largest(kind), _LOSS, kind.name)
