"""A half-precision graph rewritten so that a CPU cannot hide what half precision does to it.

CPU backends compute float16 graphs in float32 and round only where they please: ONNX Runtime
drops the casts between neighbours, so an activation above 65504 stays finite there and becomes
infinite on a GPU. Here every value that is 16 bits wide is rounded to 16 bits and widened again,
around an Identity that keeps the two casts from cancelling (with graph optimisations off).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from dlkit.errors import BackendError
from dlkit.export.held_out import Batch, Outputs
from dlkit.runtime.processors import cpu_count

_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_FLOAT = ir.DataType.FLOAT
_ERRORS_ONLY = 3  # ONNX Runtime's logging severity: error


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


def run_rounded(graph_bytes: bytes, batches: list[Batch]) -> Outputs:
    """Outputs of a half-precision graph, on the CPU, rounded as it says.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = cpu_count()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            rounded(graph_bytes), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's exceptions have no common public base
        raise BackendError(f"onnxruntime cannot load the rounded graph: {error}") from error
    (name,) = (item.name for item in session.get_inputs())
    return [np.asarray(session.run(None, {name: batch})[0]) for batch in batches]
