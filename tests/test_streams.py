"""Splitting, padding, overlap, graphs and memory, on a GPU made of numpy (see fake_gpu.py).

No test here has touched a real GPU: those are marked ``gpu``, in test_gpu.py.
"""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlkit.errors import BackendError
from dlkit.runtime.gpu.profile import Profile, Profiles
from dlkit.runtime.gpu.slot import GRAPHS
from dlkit.runtime.gpu.streams import Streams

from .fake_gpu import FakeGpu, FakeNetwork

PROFILE = Profile((1, 4, 4), (4, 8, 8), (8, 40, 16))
UINT8, FLOAT = np.dtype(np.uint8), np.dtype(np.float32)


def make(profile: Profile = PROFILE, slots: int = 2) -> tuple[FakeGpu, FakeNetwork, Streams]:
    gpu = FakeGpu()
    network = FakeNetwork(gpu, Profiles({"pixels": profile}, batched=True))
    return gpu, network, Streams(gpu, network, [UINT8], [UINT8], slots)


def images(count: int, height: int = 8, width: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, height, width), dtype=np.uint8)


def test_buckets_are_powers_of_two_and_the_ends() -> None:
    assert PROFILE.buckets == (1, 2, 4, 8)
    assert Profile((3, 4), (3, 4), (20, 4)).buckets == (3, 4, 8, 16, 20)
    assert Profile((7, 4), (7, 4), (7, 4)).buckets == (7,)
    assert [PROFILE.bucket(n) for n in range(1, 9)] == [1, 2, 4, 4, 8, 8, 8, 8]
    assert PROFILE.parts(8) == [(0, 8)]
    assert PROFILE.parts(19) == [(0, 8), (8, 16), (16, 19)]


@pytest.mark.parametrize("shape", [(1, 3, 8), (1, 8, 17), (1, 8), (1, 8, 8, 1), (0, 8, 8)])
def test_a_shape_outside_the_profile_is_refused(shape: tuple[int, ...]) -> None:
    _, network, streams = make()
    message = "0 samples" if shape[0] == 0 else r"takes 4x4 to 40x16.*dlkit export"
    with pytest.raises(BackendError, match=message):
        streams.submit(np.zeros(shape, np.uint8))
    assert not network.shapes
    with pytest.raises(BackendError, match=r"float32.*takes uint8"):
        streams.submit(np.zeros((1, 8, 8), np.float32))


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("smallest", [1, 3])
def test_any_batch_any_number_of_times(slots: int, smallest: int) -> None:
    gpu, network, streams = make(Profile((smallest, 4, 4), (4, 8, 8), (8, 40, 16)), slots)
    for turn in range(4):
        for count in (1, 2, 3, 5, 8, 9, 16, 17, 30):
            batch = images(count, seed=100 * turn + count)
            answer = streams.submit(batch).result()
            assert answer.shape == batch.shape
            assert (answer == 255 - batch).all()
    assert {shape[0] for (shape,), _ in network.shapes} <= set(network.profiles.first.buckets)
    assert streams.refusal is None
    assert "launch" in gpu.log
    streams.close()
    assert gpu.held == 0
    assert gpu.closed
    assert network.closed


def test_parts_of_one_batch_overlap() -> None:
    gpu, _, streams = make()
    streams.submit(images(16)).result()
    # The second part is copied in and begun before the first is waited for.
    first = gpu.log.index("synchronize")
    assert gpu.log[:first].count("enqueue") == 2
    assert len(gpu.streams) == 2
    gpu.waited.clear()
    streams.submit(images(48)).result()
    order = [stream for stream, _ in itertools.groupby(gpu.waited)]
    assert order == sorted(gpu.streams) * 3  # always the one that began first


def test_one_slot_is_enough_for_small_batches() -> None:
    gpu, _, streams = make()
    for _ in range(3):
        streams.submit(images(8)).result()
    assert len(gpu.streams) == 1


def test_tickets_are_independent_and_their_arrays_the_callers() -> None:
    gpu, _, streams = make()
    batches = [images(3 + index, seed=index) for index in range(6)]
    tickets = []
    for batch in batches:
        mine = batch.copy()
        tickets.append(streams.submit(mine))
        mine[...] = 0  # it was copied
    for batch, ticket in reversed(list(zip(batches, tickets, strict=True))):
        answer = ticket.result()
        assert (answer == 255 - batch).all()
        assert ticket.result() is answer
        answer[...] = 7
    assert (streams.submit(batches[0]).result() == 255 - batches[0]).all()
    left = streams.submit(batches[1])  # nobody asks for its result before the end
    streams.close()
    streams.close()
    assert gpu.held == 0
    with pytest.raises(BackendError, match="closed before"):
        left.result()
    with pytest.raises(BackendError, match="is closed"):
        streams.submit(batches[0])


def test_threads_wait_without_holding_each_other_up() -> None:
    gpu, _, streams = make()
    gpu.delay = 0.002
    wrong: list[int] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(30):
            batch = images(int(random.integers(1, 20)), 8, int(random.integers(7, 9)), seed)
            if not (streams.submit(batch).result() == 255 - batch).all():
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert streams.refusal is None
    assert "launch" in gpu.log
    streams.close()
    assert gpu.held == 0


def test_one_thread_begins_while_another_waits() -> None:
    gpu, _, streams = make()
    inside, go_on = threading.Event(), threading.Event()
    synchronize = gpu.synchronize

    def slowly(stream: int) -> None:
        if threading.current_thread() is thread:
            inside.set()
            assert go_on.wait(20)
        synchronize(stream)

    gpu.synchronize = slowly  # type: ignore[method-assign]
    first = streams.submit(images(3))
    thread = threading.Thread(target=first.result)
    thread.start()
    assert inside.wait(20)
    batch = images(5, seed=1)
    for _ in range(3):  # the other slot, and as often as it takes to record it
        assert (streams.submit(batch).result() == 255 - batch).all()
    # The slot that is waited for is needed: its part is handed over, and it is not recorded.
    tickets = [streams.submit(images(3)) for _ in range(4)]
    assert len(gpu.graphs) == 2  # both of the other slot
    go_on.set()
    thread.join()
    for ticket in [first, *tickets]:
        assert (ticket.result() == 255 - images(3)).all()
    streams.close()
    assert gpu.held == 0


def test_a_graph_is_recorded_when_a_shape_comes_again() -> None:
    gpu, network, streams = make()
    batch = images(3)
    for turn, (graphs, launches) in enumerate([(0, 0), (1, 0), (1, 1), (1, 2)]):
        streams.submit(batch).result()
        assert (len(gpu.graphs), gpu.log.count("launch")) == (graphs, launches), turn
    assert network.shapes == [(((4, 8, 8),), False), (((4, 8, 8),), True)]
    streams.submit(images(4)).result()  # the same bucket
    assert gpu.log.count("launch") == 3


def test_graphs_go_when_their_buffers_move() -> None:
    gpu, _, streams = make()
    small, large = images(2), images(8, 40, 16)
    for batch in (small, small, small, large, large, small, small, small, large):
        assert (streams.submit(batch).result() == 255 - batch).all()
    assert len(gpu.graphs) == 2


def test_the_number_of_graphs_is_bounded() -> None:
    gpu, _, streams = make()
    for turn in range(3):
        for height in range(4, 4 + GRAPHS + 9):
            batch = images(1, height, seed=turn)
            assert (streams.submit(batch).result() == 255 - batch).all()
    assert len(gpu.graphs) == GRAPHS
    streams.close()
    assert gpu.held == 0


@pytest.mark.parametrize("where", ["asked", "begin_capture", "end_capture", "while recording"])
def test_where_recording_is_refused_it_goes_on_without(where: str) -> None:
    gpu, network, streams = make()
    batch = images(5)
    streams.submit(batch).result()
    if where == "asked":
        network.refusal = "refused: asked"
    elif where != "while recording":
        gpu.fail[where] = BackendError(f"refused: {where}")
    else:
        begin = gpu.begin_capture

        def begin_then_fail(stream: int) -> None:
            begin(stream)
            gpu.fail["enqueue"] = BackendError("refused: while recording")

        gpu.begin_capture = begin_then_fail  # type: ignore[method-assign]
    for _ in range(3):
        assert (streams.submit(batch).result() == 255 - batch).all()
    assert streams.refusal == f"refused: {where}"
    assert "launch" not in gpu.log
    streams.close()
    assert gpu.held == 0


@pytest.mark.parametrize("where", ["upload", "enqueue", "download", "synchronize", "allocate"])
def test_an_error_costs_what_was_on_its_way_and_no_more(where: str) -> None:
    gpu, _, streams = make()
    waiting = streams.submit(images(2, 4, 4))
    gpu.fail[where] = BackendError(f"{where} failed")
    with pytest.raises(BackendError, match=f"{where} failed"):
        streams.submit(images(17)).result()
    with pytest.raises(BackendError, match="failed"):
        waiting.result()
    for seed in range(4):
        batch = images(11, seed=seed)
        assert (streams.submit(batch).result() == 255 - batch).all()
    streams.close()
    assert gpu.held == 0


def test_memory_that_does_not_suffice_leaves_smaller_batches_running() -> None:
    gpu, _, streams = make()
    one = images(1)
    streams.submit(one).result()
    for name in ("allocate", "allocate_pinned"):
        gpu.fail[name] = BackendError("CUDA_ERROR_OUT_OF_MEMORY")
        with pytest.raises(BackendError, match="OUT_OF_MEMORY"):
            streams.submit(images(8))
        assert (streams.submit(one).result() == 255 - one).all()
    streams.close()
    assert gpu.held == 0


def test_close_frees_what_it_can_after_errors() -> None:
    gpu, _, streams = make()
    for _ in range(3):
        streams.submit(images(9)).result()
    for name in ("free", "free_pinned", "destroy_graph"):
        gpu.fail[name] = BackendError("lost")
    streams.close()
    assert gpu.held == 3
    assert gpu.closed


def test_outputs_without_elements_and_without_axes() -> None:
    gpu = FakeGpu()
    whole = Profile((0, 3), (2, 3), (4, 3))

    def compute(x: NDArray[Any]) -> list[NDArray[Any]]:
        return [x[:0], np.asarray(x.sum(dtype=np.float32)), x * 2]

    network = FakeNetwork(gpu, Profiles({"x": whole}, False), compute, [FLOAT])
    streams = Streams(gpu, network, [FLOAT], [FLOAT] * 3)
    for count in (2, 0, 2, 2, 0, 0, 4):
        x = np.ones((count, 3), np.float32)
        nothing, total, twice = streams.submit(x).results()
        assert nothing.shape == (0, 3)
        assert (total.shape, float(total)) == ((), 3 * count)
        assert (twice == 2 * x).all()
        assert twice.shape == x.shape
    assert "launch" in gpu.log
    streams.close()
    assert gpu.held == 0
