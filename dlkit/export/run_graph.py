"""A graph on ONNX Runtime on the CPU, for what is measured while it is made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.processors import cpu_count
from dlkit.runtime.backends._onnx_session import onnx_session
from dlkit.runtime.fixed_batch import FixedBatch
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks import Feeds, Outputs, Session


class GraphSession(Session):
    """One graph, by its own names."""

    backend = "onnxruntime"
    device = "cpu"
    sha256 = ""  # bytes, perhaps of no file

    def __init__(self, graph: bytes | Path, optimise: bool = True) -> None:
        self._session = onnx_session(graph, cpu_count(), optimise=optimise)
        self._names = [one.name for one in self._session.get_outputs()]

    @property
    def spec(self) -> ModelSpec:
        """Names and shapes."""
        return ModelSpec(
            "graph", "tensors", "fp32",
            tuple(map(_tensor, self._session.get_inputs())),
            tuple(map(_tensor, self._session.get_outputs())),
        )  # fmt: skip

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """One call."""
        found = self._session.run(None, dict(feeds))
        return dict(zip(self._names, map(np.asarray, found), strict=True))

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """One call of a graph with one input and one output."""
        return self.run({self.spec.inputs[0].name: batch})[self._names[0]]


def run_graph(graph: bytes | Path, batches: Iterable[Feeds], optimise: bool = True) -> Outputs:
    """Outputs by their names, for any number of samples a call, of fixed batches too.

    Args:
        graph: an ONNX file, or its bytes.
        optimise: off keeps every node and its rounding as the graph has them.

    Raises:
        Exception: ONNX Runtime's own; they have no common public base.
    """
    own = GraphSession(graph, optimise)
    size = own.spec.fixed_batch
    session: Session = own if size is None else FixedBatch(own, own.spec, size)
    return [session.run(feeds) for feeds in batches]


def _tensor(found: Any) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) and axis > 0 else f"{found.name}_{place}"
                  for place, axis in enumerate(found.shape))  # fmt: skip
    return TensorSpec(found.name, "", shape)
