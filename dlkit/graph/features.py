"""What a classifier's graph sees before it answers, as one more output."""

from __future__ import annotations

from pathlib import Path

import onnx

from dlkit.errors import BundleError
from dlkit.graph.read import read_proto
from dlkit.spec import TensorSpec

NAME = "features"
_PRODUCTS = ("Gemm", "MatMul")


def with_features(path: Path) -> tuple[bytes, TensorSpec]:
    """A graph that also gives what goes into its last matrix product: the last hidden layer.

    Returns:
        Bytes of an ONNX file, and the output that it has besides: float32 (N, features).

    Raises:
        BundleError: it has no such layer.
    """
    model = read_proto(path)
    weights = {one.name: list(one.dims) for one in model.graph.initializer}
    products = [
        node for node in model.graph.node
        if node.op_type in _PRODUCTS and len(weights.get(node.input[1], ())) == 2
    ]  # fmt: skip
    if not products:
        raise BundleError(f"{path} has no fully connected layer, whose input would be features")
    last = products[-1]
    turned = any(one.name == "transB" and one.i for one in last.attribute)
    wide = weights[last.input[1]][1 if turned else 0]
    model.graph.node.append(onnx.helper.make_node("Identity", [last.input[0]], [NAME]))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(NAME, onnx.TensorProto.FLOAT, ["n", wide])
    )
    return bytes(model.SerializeToString()), TensorSpec(NAME, "float32", ("n", wide))
