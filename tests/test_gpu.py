"""On a real GPU: run by ``make gpu-check``, left out of every other run.

Those of TensorRT have not been run yet: no machine with a GPU that it knows was at hand.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlkit.bench import calls
from dlkit.bundle import Bundle, shipped
from dlkit.bundle.engine import engine_files
from dlkit.errors import BackendError
from dlkit.export.api import build_engine
from dlkit.runtime.gpu.cuda import Cuda, no_bindings
from dlkit.runtime.gpu.driver import compute_capability, no_cuda
from dlkit.runtime.gpu.flavor import load_flavor
from dlkit.runtime.session import open_session
from dlkit.tasks import TASKS

pytestmark = pytest.mark.gpu
BATCH = (1, 4, 8)
SIZE = ((64, 64), (128, 96), (256, 256))


def batch_for(bundle: Bundle, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images that the bundle takes and the engine's profile holds."""
    (pixels,) = calls.feeds(bundle.spec, count, (128, 96)).values()
    return np.roll(pixels, seed, axis=1)


def largest(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


def allowed(bundle: Bundle) -> float:
    """In the task's unit: between two libraries on one graph."""
    return 10 * TASKS.load(bundle.spec.task).tolerances[bundle.spec.precision].largest


@pytest.fixture(params=shipped())
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    """A copy of each shipped bundle, to put engines into."""
    source = Bundle.open(request.param)
    return source.copy(tmp_path / "b")


@pytest.fixture
def with_engine(bundle: Bundle) -> Bundle:
    """The bundle with an engine; fails where TensorRT is missing or cannot build it."""
    assert no_bindings() is None
    load_flavor()
    build_engine(bundle, BATCH, SIZE)
    return bundle


def test_there_is_a_gpu() -> None:
    assert no_cuda() is None
    assert compute_capability() is not None


def test_onnxruntime_on_cuda(bundle: Bundle) -> None:
    session = open_session(bundle, "onnxruntime", "cuda").session
    reference = open_session(bundle, "onnxruntime", "cpu").session
    for count in (1, 3, 16):
        pixels = batch_for(bundle, count)
        assert largest(session(pixels), reference(pixels)) <= allowed(bundle)


def test_memory_streams_and_graphs() -> None:
    gpu = Cuda()
    stream, memory = gpu.create_stream(), gpu.allocate(1 << 20)
    source, target = gpu.allocate_pinned(1 << 20), gpu.allocate_pinned(1 << 20)
    source[:] = np.random.default_rng(0).integers(0, 256, 1 << 20)
    target[:] = 0
    gpu.upload(stream, memory, source)
    gpu.download(stream, target, memory)
    gpu.synchronize(stream)
    assert (source == target).all()
    gpu.begin_capture(stream)
    gpu.upload(stream, memory, source)
    gpu.download(stream, target, memory)
    graph = gpu.end_capture(stream)
    source[:] = 255 - source
    gpu.synchronize(stream)
    assert not (source == target).all()  # recorded, not done
    gpu.launch(stream, graph)
    gpu.synchronize(stream)
    assert (source == target).all()
    with pytest.raises(BackendError, match="cuMemAlloc"):
        gpu.allocate(1 << 60)
    gpu.destroy_graph(graph)
    for pinned in (source, target):
        gpu.free_pinned(pinned)
    gpu.free(memory)
    gpu.destroy_stream(stream)
    gpu.close()


def test_tensorrt_gives_what_onnxruntime_gives(with_engine: Bundle) -> None:
    reference = open_session(with_engine, "onnxruntime", "cpu").session
    opened = open_session(with_engine)
    assert (opened.session.backend, opened.session.device) == ("tensorrt", "cuda")
    # 19 is above the profile; each comes often enough to be recorded and replayed.
    for turn, count in enumerate((1, 3, 19) * 4):
        pixels = batch_for(with_engine, count, seed=turn)
        output = opened.session(pixels)
        assert largest(output, reference(pixels)) <= allowed(with_engine), (turn, count)
    print(f"graphs: {opened.session.graphs}")  # type: ignore[attr-defined]
    with pytest.raises(BackendError, match="outside the engine's profile"):
        opened.session(np.zeros((1, 1024, 1024), np.uint8))


def test_tickets_and_threads(with_engine: Bundle) -> None:
    session: Any = open_session(with_engine, "tensorrt", "cuda").session
    batches = [batch_for(with_engine, 1 + index, seed=index) for index in range(8)]
    expected = [session(batch) for batch in batches]
    for _ in range(3):
        tickets = [session.submit(batch) for batch in batches]
        for ticket, answer in zip(reversed(tickets), reversed(expected), strict=True):
            assert largest(ticket.result(), answer) <= allowed(with_engine)
    found: list[NDArray[Any]] = []
    thread = threading.Thread(target=lambda: found.append(session(batches[0])))
    thread.start()
    thread.join()
    assert largest(found[0], expected[0]) <= allowed(with_engine)
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session(batches[0])


def test_kernels_of_tensorrt_for_rtx_are_kept(with_engine: Bundle) -> None:
    session: Any = open_session(with_engine, "tensorrt", "cuda").session
    session.close()
    kept = session.engine.runtime_cache
    assert kept.exists() == (session.engine.key.flavor == "tensorrt_rtx")
    open_session(with_engine, "tensorrt", "cuda").session(batch_for(with_engine, 2))
    assert len(engine_files(with_engine)) == 1
