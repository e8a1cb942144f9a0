"""OpenVINO, on the CPU."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import BackendError

PREFERENCE = 20
DEVICES = ("cpu",)


def unavailable(bundle: Bundle, device: str) -> str | None:
    """Why OpenVINO cannot run the bundle on the device; None when it should."""
    if device not in DEVICES:
        return f"openvino runs on the cpu only, not on {device}"
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed; pip install 'dlkit[openvino]'"
    return None


class OpenVinoSession:
    """A model in OpenVINO."""

    backend = "openvino"

    def __init__(self, bundle: Bundle, device: str, threads: int) -> None:
        import openvino

        self.device = device
        self.sha256 = bundle.sha256
        config = {
            "INFERENCE_NUM_THREADS": threads,
            # The graph's types are the truth; OpenVINO would else pick bfloat16 by itself.
            "EXECUTION_MODE_HINT": "ACCURACY",
        }
        try:
            self._model = openvino.Core().compile_model(bundle.onnx, "CPU", config)
        except RuntimeError as error:
            raise BackendError(f"openvino cannot load {bundle.onnx}: {error}") from error

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch; the returned array is a copy and the caller's."""
        return np.array(self._model(np.ascontiguousarray(batch))[0])


def open_session(bundle: Bundle, device: str, threads: int) -> OpenVinoSession:
    """Load the bundle."""
    return OpenVinoSession(bundle, device, threads)
