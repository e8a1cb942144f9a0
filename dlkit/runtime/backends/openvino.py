"""OpenVINO, on the CPU, in the graph's own types."""

from __future__ import annotations

import importlib.util
import threading
from collections import Counter
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import BackendError

DEVICES = ("cpu",)

_CALLS = 4  # of one shape until it gets its own model; compiling takes a few tenths of a second
_SHAPES = 4  # at most so many


def preference(bundle: Bundle) -> int:
    """Its place in ``auto``'s order."""
    # Measured (docs/int8.md): 1.5 to 2.8 times ONNX Runtime in int8, about the same in float32.
    return 7 if bundle.spec.precision == "int8" else 20


def unavailable(bundle: Bundle, device: str) -> str | None:
    """Why OpenVINO cannot run the bundle on the device; None when it should."""
    if device not in DEVICES:
        return f"openvino runs on the cpu only, not on {device}"
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed; pip install 'dlkit[openvino]'"
    return None


def capabilities() -> list[str]:
    """Types that OpenVINO computes fast in on this processor, e.g. ``BF16``."""
    import openvino

    return list(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


class OpenVinoSession:
    """A model in OpenVINO.

    A shape that comes again and again gets a model of its own: with all sizes known, OpenVINO
    is up to twice as fast (docs/int8.md has figures).
    """

    backend = "openvino"
    concurrent = True  # each thread has its own infer requests
    # The graph's types are the truth; OpenVINO would else pick bfloat16 by itself.
    arithmetic: ClassVar[dict[str, str]] = {"EXECUTION_MODE_HINT": "ACCURACY"}

    def __init__(self, bundle: Bundle, device: str, threads: int, callers: int) -> None:
        import openvino

        self.device = device
        self.sha256 = bundle.sha256
        self._config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": min(callers, threads),
            **self.arithmetic,
        }
        try:
            self._core = openvino.Core()
            self._model = self._core.read_model(bundle.onnx)
            self._any = self._core.compile_model(self._model, "CPU", self._config)
        except RuntimeError as error:
            raise BackendError(f"openvino cannot load {bundle.onnx}: {error}") from error
        # The first tensor that is seen as an array makes openvino's binding load NumPy's interface.
        # Two threads that come to that at once wait for each other for ever (pybind11 holds a lock
        # of C++ while it waits for the GIL), so it is done here.
        _ = openvino.Tensor(np.zeros(1, np.uint8)).data
        self._own = threading.local()
        self._lock = threading.Lock()
        self._calls: Counter[tuple[int, ...]] = Counter()
        self._fixed: dict[tuple[int, ...], Any] = {}

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch; the returned array is a copy and the caller's."""
        compiled = self._compiled(batch.shape)
        requests: dict[int, Any] = self._own.__dict__.setdefault("requests", {})
        if id(compiled) not in requests:
            requests[id(compiled)] = compiled.create_infer_request()
        return np.array(requests[id(compiled)].infer(np.ascontiguousarray(batch))[0])

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        if shape in self._fixed:
            return self._fixed[shape]
        with self._lock:
            self._calls[shape] += 1
            if self._calls[shape] == _CALLS and len(self._fixed) < _SHAPES:
                model = self._model.clone()
                try:
                    model.reshape(list(shape))
                    self._fixed[shape] = self._core.compile_model(model, "CPU", self._config)
                except RuntimeError:
                    pass  # the graph does not allow it; the model for all shapes goes on
            return self._fixed.get(shape, self._any)


def open_session(bundle: Bundle, device: str, threads: int, callers: int) -> OpenVinoSession:
    """Load the bundle."""
    return OpenVinoSession(bundle, device, threads, callers)
