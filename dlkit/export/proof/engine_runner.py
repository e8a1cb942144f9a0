"""Run a graph as a TensorRT engine, to bisect on what will be deployed. Needs a GPU."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir

from dlkit.bundle import Bundle
from dlkit.errors import BackendError
from dlkit.export.build_options import BuildOptions
from dlkit.export.engine import build_engine
from dlkit.export.proof.bisect import GraphRunner
from dlkit.export.write import serialised
from dlkit.runtime.gpu.driver import no_cuda
from dlkit.runtime.session import open_session
from dlkit.tasks import Feeds, Outputs


def engine_runner(bundle: Bundle) -> GraphRunner:
    """A runner for ``bisect`` that builds each graph and runs the engine.

    Raises:
        BackendError: no GPU.
    """
    if (reason := no_cuda()) is not None:
        raise BackendError(f"engines cannot run here: {reason}")

    def run(graph: ir.Model, batches: list[Feeds]) -> Outputs:
        with tempfile.TemporaryDirectory() as folder:
            whole, weights = serialised(graph)
            copy = Bundle.create(Path(folder) / "bundle", whole, bundle.spec, {}, weights)
            # Bisect keeps as many nodes in float32 as it likes.
            build_engine(copy, BuildOptions(axes=_sizes(bundle, batches), share=0.0))
            session = open_session(copy, "tensorrt", "cuda").session
            return [session.run(feeds) for feeds in batches]

    return run


def _sizes(bundle: Bundle, batches: list[Feeds]) -> dict[str, tuple[int, int, int]]:
    """Smallest, and twice the largest size of each free axis in some calls."""
    found: dict[str, set[int]] = {}
    for feeds in batches:
        for one in bundle.spec.inputs:
            for axis, size in zip(one.shape, feeds[one.name].shape, strict=True):
                if isinstance(axis, str):
                    found.setdefault(axis, set()).add(size)
    return {axis: (min(sizes), max(sizes), max(sizes)) for axis, sizes in found.items()}
