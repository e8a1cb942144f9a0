"""A torch module as a float32 ONNX graph that takes and gives what a ``ModelSpec`` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from dlkit.errors import ExportError
from dlkit.export.hushed import hushed
from dlkit.export.run_graph import open_graph
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks import Task

# Read by ONNX Runtime 1.14, OpenVINO 2023 and TensorRT 8.6 and later.
OPSET = 18
# The first in which convolutions take bfloat16; TensorRT 10.8 and OpenVINO 2025 read it.
OPSET_BFLOAT16 = 22
_WITHOUT_LOOPS = (
    "A forward that counts in Python (a loop over the batch, int() or len() of a shape) fixes the "
    "sizes of its example: compute on whole tensors. Of an ONNX file, say the size that it has"
)
_MAX_BATCH = 4096
_SMALLEST, _LARGEST = 16, 16384  # sizes of other free axes that a graph promises to take
_EXAMPLE = 6  # multiples that the first free axis has in the example, 8 the next: none alike


class _Whole(nn.Module):
    """A network that its task puts nothing around. All of it is ``network``: see ``half``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Any:
        return self.network(*inputs)


def wrapped(task: Task, network: nn.Module, config: Any, meaning: Mapping[str, Any]) -> nn.Module:
    """A network with all that belongs to its graph, in eval mode; the network is ``.network``.

    Args:
        config, meaning: as ``Task.wrap`` takes them.
    """
    model = task.wrap(network, config, meaning)
    return _Whole(network).eval() if model is network else model


def refuse_script(module: nn.Module) -> None:
    """torch's exporter takes no TorchScript.

    Raises:
        ExportError: it is some, or holds some.
    """
    if any(isinstance(one, torch.jit.ScriptModule) for one in module.modules()):
        raise ExportError(
            f"{type(module).__name__} is or holds TorchScript (of torch.jit.trace or "
            "torch.jit.script), which cannot be exported",
            "Give the nn.Module that it was made from",
        )


def opset_for(precision: str) -> int:
    """The opset that a graph of this precision is written in."""
    return OPSET_BFLOAT16 if precision == "bf16" else OPSET


def trace(model: nn.Module, spec: ModelSpec, opset: int = OPSET) -> ir.Model:
    """A module as a float32 graph.

    Free axes of the inputs, which the spec names by a string, stay free: the first axis takes 1 to
    4096, others from about 16 to 16384 in steps of ``spec.multiple_of``. One name in two places is
    one size.

    Args:
        model: takes the inputs of ``spec`` in their order, and gives its output or outputs.

    Raises:
        ExportError: torch cannot export it, or the graph is not what the spec says.
    """
    refuse_script(model)
    axes = _Axes(spec.multiple_of)
    dims = [axes.of(one) for one in spec.inputs]
    examples = tuple(axes.example(one) for one in spec.inputs)
    shapes: tuple[Any, ...] = (tuple(dims),) if isinstance(model, _Whole) else tuple(dims)
    try:
        with hushed():
            program = torch.onnx.export(
                model,
                examples,
                dynamo=True,
                opset_version=opset,
                input_names=[one.name for one in spec.inputs],
                output_names=[one.name for one in spec.outputs],
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        cause = error.__cause__ or error
        raise ExportError(
            f"{spec.name} cannot be exported: {_first_line(cause)}",
            "Its forward must be one graph for every batch and size; where sizes must be multiples "
            "of a number, say so with multiple_of",
        ) from error
    if program is None:
        raise ExportError(f"{spec.name}: torch.onnx.export gave nothing")
    graph = without_paths(program.model)
    check_graph(graph, spec)
    _check_sizes(graph, spec, axes)
    return graph


def _check_sizes(graph: ir.Model, spec: ModelSpec, axes: _Axes) -> None:
    """Refuse a graph in which an axis of an output is not as long as that of the input whose name
    it has: padding in the network can make it longer, and torch does not mind."""
    names = [one.shape[1:] for one in spec.inputs if any(isinstance(a, str) for a in one.shape[1:])]
    if not names:
        return
    session = open_graph(graph)
    for more in (0, 1):  # an odd and an even number of multiples
        sizes = axes.sizes(more)
        feeds = {
            one.name: np.zeros(_sized(one.shape, sizes), np.dtype(one.dtype)) for one in spec.inputs
        }
        found = session.run([one.name for one in spec.outputs], feeds)
        for one, array in zip(spec.outputs, found, strict=True):
            for axis, size in zip(one.shape, array.shape, strict=True):
                if isinstance(axis, str) and size != sizes.get(axis, size):
                    raise ExportError(
                        f"{spec.name} gives {one.name} {array.shape} where {axis} is "
                        f"{sizes[axis]}: its sizes must be multiples of a number",
                        "Say of which: multiple_of (--multiple-of), e.g. 16 of a network that "
                        "halves four times",
                    )


def _sized(shape: Sequence[int | str], sizes: Mapping[str, int]) -> list[int]:
    return [sizes[axis] if isinstance(axis, str) else axis for axis in shape]


class _Axes:
    """The free axes of a spec's inputs, by name."""

    def __init__(self, multiple_of: int) -> None:
        self._multiple = multiple_of
        self._dims: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._first: set[str] = set()  # names of batch axes

    def of(self, tensor: TensorSpec) -> dict[int, Any]:
        """torch's description of an input's free axes."""
        found = {}
        for place, name in enumerate(tensor.shape):
            if not isinstance(name, str):
                continue
            if name not in self._dims:
                self._add(name, first=place == 0)
            found[place] = self._dims[name]
        return found

    def example(self, tensor: TensorSpec) -> Tensor:
        """An input of zeros."""
        sizes = [self._sizes[one] if isinstance(one, str) else one for one in tensor.shape]
        return torch.zeros(sizes, dtype=getattr(torch, tensor.dtype))

    def sizes(self, more: int) -> dict[str, int]:
        """Sizes by name; of all axes but the first so many multiples more than the least."""
        least = max(2, -(-_SMALLEST // self._multiple)) + more
        return {
            name: size if name in self._first else least * self._multiple
            for name, size in self._sizes.items()
        }

    def _add(self, name: str, first: bool) -> None:
        letter = f"axis{len(self._dims)}"
        if first:
            self._first.add(name)
            # 2: of 1 the exporter may make a constant
            self._dims[name], self._sizes[name] = torch.export.Dim(letter, min=1, max=_MAX_BATCH), 2
            return
        times = self._multiple
        least, most = max(2, -(-_SMALLEST // times)), _LARGEST // times
        free = torch.export.Dim(letter, min=least, max=max(least, most))
        multiples = max(least, _EXAMPLE + 2 * (len(self._dims) - 1))
        self._dims[name] = free if times == 1 else times * free
        self._sizes[name] = times * multiples


def check_graph(graph: ir.Model, spec: ModelSpec) -> None:
    """Refuse a graph that takes or gives other things than its spec says.

    Raises:
        ExportError: names, dtypes, ranks or fixed sizes differ; says which.
    """
    sides = (
        ("input", graph.graph.inputs, spec.inputs),
        ("output", graph.graph.outputs, spec.outputs),
    )
    for what, values, wanted in sides:
        got = [_tensor(value) for value in values]
        if [one.name for one in got] != [one.name for one in wanted]:
            raise ExportError(
                f"{spec.name}: the graph has the {what}s {_names(got)}, its spec {_names(wanted)}"
            )
        for one, other in zip(got, wanted, strict=True):
            if not _fits(one, other):
                raise ExportError(
                    f"{spec.name}: the graph's {what} is {one}, its spec says {other}",
                    _WITHOUT_LOOPS if _fits(other, one) else "",
                )


def same_tensors(graph: ir.Model, spec: ModelSpec) -> dict[str, str]:
    """The graph's name of each input and output of a spec: its own, in whatever place; those that
    are called otherwise are paired in their order.

    Raises:
        ExportError: they have other numbers, types or sizes.
    """
    inputs, outputs = graph_tensors(graph)
    names: dict[str, str] = {}
    for what, ours, theirs in (("input", spec.inputs, inputs), ("output", spec.outputs, outputs)):
        if len(ours) != len(theirs):
            raise ExportError(
                f"{spec.name}: the graph has the {what}s {_names(theirs)}, its spec {_names(ours)}"
            )
        for one, other in _pairs(ours, theirs):
            if not _fits(one, other) and not _fits(other, one):
                raise ExportError(
                    f"{spec.name}: the graph's {what} is {other}, its spec says {one}"
                )
            names[one.name] = other.name
    return names


def _pairs(
    ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec]
) -> list[tuple[TensorSpec, TensorSpec]]:
    """Tensors of the same name; the others, as many of both, in their order."""
    named = {one.name: one for one in theirs}
    known = {one.name for one in ours}
    rest = iter([one for one in theirs if one.name not in known])
    return [(one, named[one.name] if one.name in named else next(rest)) for one in ours]


def graph_tensors(graph: ir.Model) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """What a graph takes and gives.

    Raises:
        ExportError: a type or a rank is not noted in it.
    """
    inputs = tuple(map(_tensor, graph.graph.inputs))
    return inputs, tuple(map(_tensor, graph.graph.outputs))


def without_paths(model: ir.Model) -> ir.Model:
    """Take out the stack traces that torch notes in each node: paths of the machine that exported.

    The names of the modules stay.
    """
    for node in model.graph:
        node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
    return model


def _tensor(value: ir.Value) -> TensorSpec:
    if value.dtype is None or value.shape is None:
        raise ExportError(f"the graph does not say of {value.name} which type and shape it has")
    axes = [
        size if isinstance(size, int) else str(size.value or f"{value.name}_{place}")
        for place, size in enumerate(value.shape)
    ]
    return TensorSpec(str(value.name), value.dtype.numpy().name, tuple(axes))


def _fits(got: TensorSpec, wanted: TensorSpec) -> bool:
    """Types and ranks are the same, and so are sizes that both know."""
    if got.dtype != wanted.dtype or len(got.shape) != len(wanted.shape):
        return False
    pairs = zip(got.shape, wanted.shape, strict=True)
    # a free axis of the spec must be free in the graph; what shape inference left open may be known
    return all(one == other or isinstance(one, str) for one, other in pairs)


def _names(tensors: Any) -> str:
    return ", ".join(one.name for one in tensors) or "none"


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
