"""A half-precision graph rewritten so that a CPU cannot hide what half precision does to it.

CPU backends compute float16 graphs in float32 and round only where they please: ONNX Runtime
drops the casts between neighbours, so an activation above 65504 stays finite there and becomes
infinite on a GPU. Here every value that is 16 bits wide is rounded to 16 bits and widened again,
around an Identity that keeps the two casts from cancelling (with graph optimisations off).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir

from dlkit.errors import BackendError
from dlkit.processors import cpu_count
from dlkit.runtime.backends._onnx_session import onnx_session
from dlkit.tasks import Feeds, Outputs

ROUNDED = ("fp16", "bf16")  # precisions that need it
_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_FLOAT = ir.DataType.FLOAT


def rounded(graph_bytes: bytes) -> bytes:
    """The float32 graph that rounds wherever the given one is half precision."""
    proto = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph_bytes))
    model = ir.from_proto(proto)
    graph = model.graph
    for value in graph.initializers.values():
        if value.dtype in _HALF and value.const_value is not None:
            wide = value.const_value.numpy().astype(np.float32)
            value.const_value = ir.tensor(wide, name=value.name)
            value.dtype = _FLOAT
    for node in list(graph):
        for value in node.outputs:
            if value.dtype not in _HALF:
                continue
            half = value.dtype
            if node.op_type == "Cast":
                node.attributes["to"] = ir.AttrInt64("to", int(_FLOAT))
            value.dtype = _FLOAT
            uses = list(value.uses())
            down = ir.node("Cast", [value], {"to": int(half)}, name=f"{value.name}_down")
            hold = ir.node("Identity", [down.outputs[0]], name=f"{value.name}_hold")
            up = ir.node("Cast", [hold.outputs[0]], {"to": int(_FLOAT)}, name=f"{value.name}_up")
            graph.insert_after(node, [down, hold, up])
            for user, index in uses:
                user.replace_input_with(index, up.outputs[0])
    return bytes(ir.to_proto(model).SerializeToString())


def run_rounded(graph_bytes: bytes, batches: Sequence[Feeds]) -> Outputs:
    """Outputs of a half-precision graph, on the CPU, rounded as it says.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """
    try:
        session = onnx_session(rounded(graph_bytes), cpu_count(), optimise=False)
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        raise BackendError(f"onnxruntime cannot load the rounded graph: {error}") from error
    names = [one.name for one in session.get_outputs()]
    return [
        dict(zip(names, map(np.asarray, session.run(None, dict(feeds))), strict=True))
        for feeds in batches
    ]
