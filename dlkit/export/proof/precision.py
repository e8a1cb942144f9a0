"""Which share of a graph's arithmetic is in which type, counted on the graph before it is written.

``layers`` counts the same on the network that TensorRT makes of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection

import onnx

from dlkit.errors import ExportError
from dlkit.export.blank import blank
from dlkit.export.proof.layers import REQUIRED
from dlkit.graph import infer_shapes, node_multiply_adds
from dlkit.spec import ModelSpec

_TYPES = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
}
_INTEGER = ("ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")
_NAMED = 5  # layers that an error names


def check_precision(graph: bytes, spec: ModelSpec, kept: Collection[str] = ()) -> None:
    """Refuse a graph whose arithmetic is not in the precision that its spec says.

    Args:
        graph: bytes of an ONNX file.
        kept: names of nodes that somebody asked to stay float32; the demand is on the others.

    Raises:
        ExportError: too few of the multiply-adds are in it; names the layers.
    """
    counted = multiply_adds_by_layer(graph, spec)
    demanded = {
        name: (dtype, count)
        for name, (dtype, count) in counted.items()
        if name not in kept or dtype != "fp32"
    }
    shares: Counter[str] = Counter()
    for dtype, count in demanded.values():
        shares[dtype] += count
    whole = shares.total()
    there = shares[spec.precision] / whole if whole else 1.0
    if there >= REQUIRED[spec.precision]:
        return
    others = sorted(
        ((count, name, dtype) for name, (dtype, count) in demanded.items()
         if dtype != spec.precision), reverse=True
    )  # fmt: skip
    named = ", ".join(f"{name} ({dtype})" for _, name, dtype in others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    raise ExportError(
        f"{spec.name}: asked for {spec.precision}, but only {there:.1%} of the multiply-adds are "
        f"{spec.precision}, {REQUIRED[spec.precision]:.0%} are needed; not so: {named}{more}",
        f"Convert the fp32 graph with --precision {spec.precision}, or say what it is in the spec",
    )


def multiply_adds_by_layer(graph: bytes, spec: ModelSpec) -> dict[str, tuple[str, int]]:
    """Type and multiply-adds of every convolution and matrix product, for one sample.

    Where shapes cannot be told, the elements of a layer's weights stand for its multiply-adds.
    """
    model = onnx.load_from_string(graph)
    whole = onnx.shape_inference.infer_shapes(model)
    types = {one.name: one.data_type for one in whole.graph.initializer}
    for value in (*whole.graph.input, *whole.graph.value_info, *whole.graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    sizes = {one.name: list(one.dims) for one in model.graph.initializer}
    given = {name: list(array.shape) for name, array in blank(spec).items()}
    shapes = infer_shapes(model, given) or sizes
    eight = {
        node.output[0] for node in whole.graph.node if node.op_type == "DequantizeLinear"
    }  # TensorRT and others run what lies between such in eight bits
    found: dict[str, tuple[str, int]] = {}
    for place, node in enumerate(whole.graph.node):
        count = node_multiply_adds(node, shapes)
        if count is None:
            count = max((math.prod(sizes[name]) for name in node.input if name in sizes), default=1)
        if count:
            low = node.op_type in _INTEGER or eight.issuperset(node.input[:2])
            dtype = "int8" if low else _TYPES.get(types.get(node.output[0], 0), "other")
            found[node.name or f"{node.op_type}_{place}"] = (dtype, count)
    return found
