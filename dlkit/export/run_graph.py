"""A graph on ONNX Runtime on the CPU, for what is measured while it is made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from dlkit.bundle.own import WEIGHTS
from dlkit.export.write import serialised
from dlkit.processors import cpu_count
from dlkit.runtime.backends._onnx_session import onnx_session
from dlkit.runtime.fixed_batch import FixedBatch
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks import Feeds, Outputs, Session

# An ONNX file, its bytes, or the graph itself, of any size.
Graph: TypeAlias = bytes | Path | ir.Model | onnx.ModelProto


def open_graph(graph: Graph, optimise: bool = True) -> Any:
    """ONNX Runtime's session of a graph on the CPU; it raises what it has to say, and prints
    nothing.

    Args:
        optimise: off keeps every node and its rounding as the graph has them.

    Raises:
        Exception: ONNX Runtime's own; they have no common public base.
    """
    if isinstance(graph, bytes | Path):
        return onnx_session(graph, cpu_count(), optimise=optimise, quiet=True)
    whole, weights = serialised(graph)
    if not weights:
        return onnx_session(whole, cpu_count(), optimise=optimise, quiet=True)
    with TemporaryDirectory(prefix="dlkit-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(whole)
        (path.parent / WEIGHTS).write_bytes(weights)
        return onnx_session(path, cpu_count(), optimise=optimise, quiet=True)


class GraphSession(Session):
    """One graph, by its own names."""

    backend = "onnxruntime"
    device = "cpu"
    sha256 = ""  # bytes, perhaps of no file

    def __init__(self, graph: Graph, optimise: bool = True) -> None:
        self._session = open_graph(graph, optimise)
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


def run_graph(graph: Graph, batches: Iterable[Feeds], optimise: bool = True) -> Outputs:
    """Outputs by their names, for any number of samples a call, of fixed batches too.

    Args:
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
