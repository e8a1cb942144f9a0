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
from dlkit.runtime.backends._onnx_session import onnx_session
from dlkit.runtime.backends._onnx_wheel import WHEEL, WITH_CUDA
from dlkit.runtime.gpu.driver import no_cuda
from dlkit.runtime.session import Backend, Unavailable
from dlkit.runtime.unavailable import closed
from dlkit.tasks import Feeds, Session

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# TensorFloat-32 has 10 bits of mantissa: not what a graph in float32 asks for.
# The exhaustive search for convolutions, its default, takes up to two seconds for every new shape
# of a batch; what it finds is seldom faster (docs/gpu.md).
_OPTIONS: dict[str, dict[str, str]] = {
    "cpu": {},
    "cuda": {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
}


class OnnxRuntimeBackend(Backend):
    """ONNX Runtime."""

    name = "onnxruntime"
    devices = ("cpu", "cuda")

    def preference(self, bundle: Bundle) -> int:
        """Its place in ``auto``'s order."""
        return 10

    def unavailable(self, bundle: Bundle, device: str) -> Unavailable | None:
        """Why ONNX Runtime cannot run the bundle on the device; None when it should."""
        if importlib.util.find_spec("onnxruntime") is None:
            return Unavailable("onnxruntime is not installed", f"Run: pip install {WHEEL}")
        if device == "cpu" and bundle.spec.precision == "bf16":
            what = "onnxruntime has no bfloat16 convolutions for the CPU"
            return Unavailable(what, "Use --backend openvino")
        if device == "cuda":
            if reason := no_cuda():
                return reason
            import onnxruntime

            if _PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
                return Unavailable("this onnxruntime has no CUDA", WITH_CUDA)
        return None

    def open(self, bundle: Bundle, device: str, threads: int, callers: int) -> OnnxRuntimeSession:
        """Load the bundle."""
        return OnnxRuntimeSession(bundle, device, threads, callers)


class OnnxRuntimeSession(Session):
    """A model in ONNX Runtime, whose ``run`` may be called from any thread."""

    backend = "onnxruntime"

    def __init__(self, bundle: Bundle, device: str, threads: int, callers: int) -> None:
        import onnxruntime

        self.device = device
        self.sha256 = bundle.sha256
        missing = _preload(onnxruntime) if device == "cuda" else ""
        provider = (_PROVIDERS[device], _OPTIONS[device])
        try:
            # With one thread each, every caller computes in its own.
            half = bundle.spec.precision in ("fp16", "bf16")
            self._session: Any = onnx_session(
                bundle.onnx, threads // callers, [provider], half=half
            )
        except Exception as error:  # ONNX Runtime's exceptions have no common public base
            raise BackendError(
                f"onnxruntime cannot load {bundle.onnx}: {error}",
                f"Upgrade it: pip install --upgrade {WHEEL}, or use another --backend",
            ) from error
        active = self._session.get_providers()
        if active[0] != _PROVIDERS[device]:  # it falls back to the CPU in silence
            raise BackendError(
                f"asked onnxruntime for {_PROVIDERS[device]}, got {', '.join(active)}: "
                f"its CUDA libraries do not load{missing}. onnxruntime-gpu "
                f"{onnxruntime.__version__} needs CUDA {_cuda(onnxruntime)} and cuDNN 9",
                "Run: pip install 'onnxruntime-gpu[cuda,cudnn]', or use --device cpu",
            )
        self._how = onnxruntime.RunOptions()
        self._how.log_severity_level = 4  # what goes wrong is raised, and not printed as well
        self._input = bundle.spec.inputs[0].name
        self._outputs = [one.name for one in bundle.spec.outputs]

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        found = self._run(dict(feeds))
        return dict(zip(self._outputs, map(np.asarray, found), strict=True))

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch; the returned array is the caller's."""
        feeds = {self._input: np.ascontiguousarray(batch)}
        (output,) = self._run(feeds)
        return np.asarray(output)

    def _run(self, feeds: dict[str, NDArray[Any]]) -> Any:
        if self._session is None:
            raise closed()
        return self._session.run(self._outputs, feeds, self._how)

    def stop(self) -> None:
        """End calls that are under way."""
        self._how.terminate = True

    def close(self) -> None:
        """Free the graph's memory now, whoever still holds this; a second call does nothing."""
        self._session = None


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


BACKEND = OnnxRuntimeBackend()
