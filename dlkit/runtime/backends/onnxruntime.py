"""ONNX Runtime, on the CPU or with CUDA."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import BackendError
from dlkit.runtime.device import no_cuda

DEVICES = ("cpu", "cuda")

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# TensorFloat-32 has 10 bits of mantissa: not what a graph in float32 asks for.
_OPTIONS: dict[str, dict[str, str]] = {"cpu": {}, "cuda": {"use_tf32": "0"}}
_ERRORS_ONLY = 3  # ONNX Runtime's logging severity: error


def preference(bundle: Bundle) -> int:
    """Its place in ``auto``'s order."""
    return 10


def unavailable(bundle: Bundle, device: str) -> str | None:
    """Why ONNX Runtime cannot run the bundle on the device; None when it should."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed; pip install onnxruntime-gpu"
    if device == "cpu" and bundle.spec.precision == "bf16":
        return "onnxruntime has no bfloat16 convolutions for the CPU; use openvino"
    if device == "cuda":
        if reason := no_cuda():
            return reason
        import onnxruntime

        if _PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
            return "this onnxruntime has no CUDA; pip uninstall onnxruntime, then install -gpu"
    return None


class OnnxRuntimeSession:
    """A model in ONNX Runtime."""

    backend = "onnxruntime"
    concurrent = True  # InferenceSession.run may be called from any thread

    def __init__(self, bundle: Bundle, device: str, threads: int, callers: int) -> None:
        import onnxruntime

        self.device = device
        self.sha256 = bundle.sha256
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        # With one thread each, every caller computes in its own.
        options.intra_op_num_threads = max(1, threads // callers)
        # Reading and writing images use the same cores: idle threads must sleep, not spin.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        missing = _preload(onnxruntime) if device == "cuda" else ""
        provider = (_PROVIDERS[device], _OPTIONS[device])
        try:
            self._session = onnxruntime.InferenceSession(bundle.onnx, options, providers=[provider])
        except Exception as error:  # ONNX Runtime's exceptions have no common public base
            raise BackendError(f"onnxruntime cannot load {bundle.onnx}: {error}") from error
        active = self._session.get_providers()
        if active[0] != _PROVIDERS[device]:  # it falls back to the CPU in silence
            raise BackendError(
                f"asked onnxruntime for {_PROVIDERS[device]}, got {', '.join(active)}: "
                f"its CUDA libraries do not load{missing}. onnxruntime-gpu "
                f"{onnxruntime.__version__} needs CUDA {_cuda(onnxruntime)} and cuDNN 9: "
                "pip install 'onnxruntime-gpu[cuda,cudnn]', or use --device cpu"
            )
        self._input = bundle.spec.input.name
        self._output = bundle.spec.output.name

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch; the returned array is the caller's."""
        (output,) = self._session.run([self._output], {self._input: np.ascontiguousarray(batch)})
        return np.asarray(output)


def _preload(onnxruntime: ModuleType) -> str:
    """Load CUDA's libraries from where pip puts them; gives what was missing, to be told.

    ONNX Runtime prints it, in the middle of whatever the program prints itself.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        getattr(onnxruntime, "preload_dlls", lambda: None)()  # older than 1.21: not there
    lines = [line.strip() for line in printed.getvalue().splitlines() if line.strip()]
    return f" ({lines[0]})" if lines else ""


def _cuda(onnxruntime: ModuleType) -> str:
    """Version of CUDA that ONNX Runtime was built with."""
    return str(getattr(onnxruntime, "cuda_version", "") or "of its release notes")


def open_session(bundle: Bundle, device: str, threads: int, callers: int) -> OnnxRuntimeSession:
    """Load the bundle."""
    return OnnxRuntimeSession(bundle, device, threads, callers)
