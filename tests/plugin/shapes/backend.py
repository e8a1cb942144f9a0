"""A backend: ONNX's own reference implementation in numpy."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import Backend, Bundle, Session
from dlkit.runtime.session import Unavailable
from dlkit.tasks import Feeds


class ReferenceBackend(Backend):
    """Slow and plain."""

    name = "reference_evaluator"
    devices = ("cpu",)

    def preference(self, bundle: Bundle) -> int:
        """The last."""
        return 1000

    def unavailable(self, bundle: Bundle, device: str) -> Unavailable | None:
        """It needs onnx."""
        if importlib.util.find_spec("onnx") is None:
            return Unavailable("onnx is not installed", "pip install onnx")
        if bundle.spec.precision == "int8":
            return Unavailable("the reference has no eight bits of this opset")
        return None

    def open(self, bundle: Bundle, device: str, threads: int, callers: int) -> ReferenceSession:
        """Load the bundle."""
        return ReferenceSession(bundle)


class ReferenceSession(Session):
    """A graph in numpy."""

    backend, device = "reference_evaluator", "cpu"

    def __init__(self, bundle: Bundle) -> None:
        from onnx.reference import ReferenceEvaluator

        self.sha256 = bundle.sha256
        self._outputs = [one.name for one in bundle.spec.outputs]
        self._input = bundle.spec.inputs[0].name
        self._evaluator: Any = ReferenceEvaluator(str(bundle.onnx))

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        found = self._evaluator.run(self._outputs, dict(feeds))
        return dict(zip(self._outputs, map(np.asarray, found), strict=True))

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch of the one input."""
        return self.run({self._input: batch})[self._outputs[0]]


BACKEND = ReferenceBackend()
