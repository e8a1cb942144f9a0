"""How often each layer of a TensorRT network runs: once, or once a turn of the loops around it.

TensorRT makes loops of LSTM, GRU and RNN too. What is between a loop's recurrences or iterators and
its outputs runs in every turn; what depends on neither is computed once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

_INTO = ("ITERATOR", "RECURRENCE")
_SAME = ("CAST", "SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE")  # they keep a single value


def turns(
    trt: ModuleType, layers: Sequence[Any], produced_by: Mapping[str, Any]
) -> tuple[dict[str, int], list[str]]:
    """How often each layer in a loop runs, by its name; and loops whose turns depend on the data,
    which are counted once.

    Args:
        layers: all, as ``typed`` gives them, of a network with known shapes.
        produced_by: the layer that gives each tensor, by the tensor's name.
    """
    takers: defaultdict[str, list[Any]] = defaultdict(list)
    loops: defaultdict[str, list[Any]] = defaultdict(list)
    for layer in layers:
        for index in range(layer.num_inputs):
            if (tensor := layer.get_input(index)) is not None:
                takers[tensor.name].append(layer)
        if layer.type.name in (*_INTO, "TRIP_LIMIT", "LOOP_OUTPUT"):
            loops[layer.loop.name].append(layer)
    times: dict[str, int] = {}
    unknown = []
    for name, ends in loops.items():
        count = _count(trt, ends, produced_by)
        if count is None:
            unknown.append(name)
        for inside in _body(name, ends, takers):
            times[inside] = times.get(inside, 1) * (count or 1)
    return times, unknown


def _body(loop: str, ends: Sequence[Any], takers: Mapping[str, Sequence[Any]]) -> set[str]:
    """Names of the layers that a loop runs in every turn."""
    found: set[str] = set()
    waiting = [layer for layer in ends if layer.type.name in _INTO]
    while waiting:
        layer = waiting.pop()
        if layer.name in found or (layer.type.name == "LOOP_OUTPUT" and layer.loop.name == loop):
            continue
        found.add(layer.name)
        for index in range(layer.num_outputs):
            waiting += takers.get(layer.get_output(index).name, ())
    return found


def _count(trt: ModuleType, ends: Sequence[Any], produced_by: Mapping[str, Any]) -> int | None:
    """Turns of a loop: of what it walks over, of what it collects, or a constant limit."""
    for layer in ends:
        kind, sized = layer.type.name, None
        if kind == "ITERATOR":
            sized = layer.get_input(0)
        elif kind == "LOOP_OUTPUT" and layer.kind != trt.LoopOutput.LAST_VALUE:
            sized = layer.get_output(0)
        if sized is not None and (size := int(sized.shape[layer.axis])) >= 0:
            return size
    for layer in ends:
        if layer.type.name == "TRIP_LIMIT" and layer.kind == trt.TripLimit.COUNT:
            maker = produced_by.get(layer.get_input(0).name)
            while maker is not None and maker.type.name in _SAME:
                maker = produced_by.get(maker.get_input(0).name)
            if maker is not None and maker.type.name == "CONSTANT":
                return int(maker.weights.item())
    return None
