"""OpenVINO, on the CPU, in the graph's own types."""

from __future__ import annotations

import importlib.util
import threading
from collections import Counter
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import BackendError
from dlkit.runtime.backends._openvino_core import core
from dlkit.runtime.session import Backend, Unavailable
from dlkit.runtime.unavailable import closed
from dlkit.tasks import Feeds, Session

_CALLS = 4  # of one shape until it gets its own model; compiling takes a few tenths of a second
_SHAPES = 4  # at most so many

Shapes: TypeAlias = tuple[tuple[int, tuple[int, ...]], ...]  # of inputs, by their places


class OpenVinoBackend(Backend):
    """OpenVINO."""

    name = "openvino"
    devices = ("cpu",)

    def preference(self, bundle: Bundle) -> int:
        """Its place in ``auto``'s order."""
        # Measured (docs/int8.md): 1.5 to 2.8 times ONNX Runtime in int8, about the same in float32.
        return 7 if bundle.spec.precision == "int8" else 20

    def unavailable(self, bundle: Bundle, device: str) -> Unavailable | None:
        """Why OpenVINO cannot run the bundle on the device; None when it should."""
        if device not in self.devices:
            return Unavailable(
                f"{self.name} runs on the cpu only, not on {device}", "Use --device cpu"
            )
        if importlib.util.find_spec("openvino") is None:
            mend = "Run: pip install 'dlkit-vision[openvino]'"
            return Unavailable("openvino is not installed", mend)
        return None

    def open(self, bundle: Bundle, device: str, threads: int, callers: int) -> OpenVinoSession:
        """Load the bundle."""
        return OpenVinoSession(bundle, threads, callers)


class OpenVinoSession(Session):
    """A model in OpenVINO; each thread has its own infer requests.

    A shape that comes again and again gets a model of its own: with all sizes known, OpenVINO
    is up to twice as fast (docs/int8.md has figures).
    """

    backend = "openvino"
    device = "cpu"
    # The graph's types are the truth; OpenVINO would else pick bfloat16 by itself.
    hints: ClassVar[dict[str, str]] = {"EXECUTION_MODE_HINT": "ACCURACY"}

    def __init__(self, bundle: Bundle, threads: int, callers: int) -> None:
        self.sha256 = bundle.sha256
        self._input = bundle.spec.inputs[0].name
        self._outputs = [one.name for one in bundle.spec.outputs]
        self._config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": min(callers, threads),
            **self.hints,
        }
        try:
            self._model: Any = core().read_model(bundle.onnx)
            self._any: Any = core().compile_model(self._model, "CPU", self._config)
        except RuntimeError as error:
            raise BackendError(
                f"openvino cannot load {bundle.onnx}: {_said(error)}",
                "Upgrade it: pip install --upgrade openvino, or use another --backend",
            ) from error
        # It leaves out inputs that nothing in the graph takes: what is left goes in by its name.
        self._places = {
            name: place
            for place, taken in enumerate(self._model.inputs)
            for name in taken.get_names()
        }
        self._own = threading.local()
        self._lock = threading.Lock()
        self._calls: Counter[Shapes] = Counter()
        self._fixed: dict[Shapes, Any] = {}

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run one batch; the arrays are copies and the caller's."""
        found = self._infer(feeds)
        return {name: np.array(found[index]) for index, name in enumerate(self._outputs)}

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch; the returned array is a copy and the caller's."""
        return np.array(self._infer({self._input: batch})[0])

    def close(self) -> None:
        """Free the graph's memory now, whoever still holds this; a second call does nothing."""
        self._own = threading.local()
        self._fixed.clear()
        self._model = self._any = None

    def _infer(self, feeds: Feeds) -> Any:
        if self._any is None:
            raise closed()
        # in C order: ``ascontiguousarray`` would make a scalar an array of one
        arrays = {
            self._places[name]: np.asarray(array, order="C")
            for name, array in feeds.items()
            if name in self._places
        }
        compiled = self._compiled(tuple((place, one.shape) for place, one in arrays.items()))
        requests: dict[int, Any] = self._own.__dict__.setdefault("requests", {})
        if id(compiled) not in requests:
            requests[id(compiled)] = compiled.create_infer_request()
        return requests[id(compiled)].infer(arrays)

    def _compiled(self, shapes: Shapes) -> Any:
        if shapes in self._fixed:
            return self._fixed[shapes]
        with self._lock:
            self._calls[shapes] += 1
            if self._calls[shapes] == _CALLS and len(self._fixed) < _SHAPES:
                model = self._model.clone()
                try:
                    model.reshape({place: list(shape) for place, shape in shapes})
                    self._fixed[shapes] = core().compile_model(model, "CPU", self._config)
                except RuntimeError:
                    pass  # the graph does not allow it; the model for all shapes goes on
            return self._fixed.get(shapes, self._any)


def _said(error: RuntimeError) -> str:
    """What OpenVINO says, on one line, without the places in its own code."""
    own = ("Exception from", "Check 'false'", "FrontEnd API", "Model wasn't", "Summary:",
           "-- Conversion is")  # fmt: skip
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(own)]
    return " ".join(told) or " ".join(filter(None, lines))


BACKEND = OpenVinoBackend()
