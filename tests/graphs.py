"""Small ONNX graphs, as others write them, in bundles that say of them what they say themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, ValueInfoProto, helper, numpy_helper

from dlkit.bundle import Bundle
from dlkit.spec import ModelSpec, TensorSpec

Axes = Sequence[int | str]
node = helper.make_node


def value(name: str, axes: Axes, dtype: str = "float32") -> ValueInfoProto:
    """An input or output; ``bytes`` is the type of strings."""
    kinds = {"bytes": onnx.TensorProto.STRING, "bfloat16": onnx.TensorProto.BFLOAT16}
    kind = kinds.get(dtype) or helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(axes))


def graph(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Mapping[str, NDArray[Any] | float] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    """A model; nodes without names stay so."""
    held = [numpy_helper.from_array(np.asarray(w), name) for name, w in (weights or {}).items()]
    return helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs, held),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)],
        ir_version=11 if opset > 21 else 10,
    )


def bundle(
    path: Path, model: onnx.ModelProto, precision: str = "fp32", task: str = "tensors", **spec: Any
) -> Bundle:
    """A bundle whose spec is what the graph says."""

    def tensor(given: ValueInfoProto) -> TensorSpec:
        kind = given.type.tensor_type
        name = "bfloat16" if kind.elem_type == onnx.TensorProto.BFLOAT16 else ""
        name = "bytes" if kind.elem_type == onnx.TensorProto.STRING else name
        name = name or helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        return TensorSpec(
            given.name, name, tuple(axis.dim_param or axis.dim_value for axis in kind.shape.dim)
        )

    ends = model.graph
    made = ModelSpec(
        path.name, task, precision, tuple(map(tensor, ends.input)),
        tuple(map(tensor, ends.output)), **spec,
    )  # fmt: skip
    return Bundle.create(path, model.SerializeToString(), made, {})


def rising(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    """0, 1, 2, ... divided by their number, for weights that are all different."""
    size = int(np.prod(shape))
    return (np.arange(size).reshape(shape) / size - 0.5).astype(dtype)
