"""ONNX Runtime's session as dlkit sets it up: the one place that does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_ERRORS_ONLY, _FATAL = 3, 4  # ONNX Runtime's logging severity


def onnx_session(
    graph: bytes | Path,
    threads: int,
    providers: list[Any] | None = None,
    optimise: bool = True,
    quiet: bool = False,
    half: bool = False,
) -> Any:
    """An ``onnxruntime.InferenceSession``.

    Args:
        graph: an ONNX file, or its bytes.
        threads: of each call.
        providers: as ONNX Runtime takes them; the CPU by default.
        optimise: off keeps every node and its rounding as the graph has them.
        quiet: print no errors: it is only tried.
        half: it computes in half precision.

    Raises:
        Exception: ONNX Runtime's own; they have no common public base.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL if quiet else _ERRORS_ONLY
    options.intra_op_num_threads = max(1, threads)
    # Reading and writing images use the same cores: idle threads must sleep, not spin.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # ONNX Runtime 1.31 crashes in it on some float16 graphs (Conv, LeakyRelu, MaxPool).
    without = ["NchwcTransformer"] if half else []
    return onnxruntime.InferenceSession(
        graph,
        options,
        providers=providers or ["CPUExecutionProvider"],
        disabled_optimizers=without,
    )
