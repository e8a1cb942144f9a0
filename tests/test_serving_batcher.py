"""The queue: rows counted, grouped by shape, bounded; what is cancelled or late leaves it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from dlkit.serving.batcher import Batcher
from dlkit.serving.calls import Arrays, GraphError, Limits, Watch
from dlkit.serving.refused import RefusedError


class Graph:
    """Doubles ``x``; notes the rows of each call, and waits until it may go on."""

    def __init__(self, held: bool = False) -> None:
        self.rows: list[int] = []
        self.shapes: list[tuple[int, ...]] = []
        self.go = threading.Event()
        if not held:
            self.go.set()

    def __call__(self, feeds: Arrays) -> Arrays:
        x = feeds["x"]
        self.rows.append(len(x))
        self.shapes.append(x.shape)
        assert self.go.wait(30)
        if (x < 0).any():
            raise GraphError("below zero")
        return {"y": 2 * x}


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def rows(count: int, value: float = 1.0, width: int = 2) -> Arrays:
    return {"x": np.full((count, width), value, np.float32)}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def held_batcher(limits: Limits, **more: Any) -> tuple[Batcher, Graph, asyncio.Task[Arrays]]:
    """A batcher whose one thread is busy with one row."""
    graph = Graph(held=True)
    batcher = Batcher(graph, limits, **more)
    first = asyncio.create_task(batcher.answer(rows(1), 1))
    await until(lambda: batcher.running == 1 and not batcher.waiting)
    return batcher, graph, first


def test_rows_are_counted_not_requests() -> None:
    async def test() -> None:
        batcher, graph, first = await held_batcher(Limits(batch=8))
        waiting = [asyncio.create_task(batcher.answer(rows(3, n), 3)) for n in range(5)]
        await until(lambda: batcher.waiting == 15)
        graph.go.set()
        answers = await asyncio.gather(first, *waiting)
        assert graph.rows == [1, 6, 6, 3]  # whole requests, at most 8 rows
        for n, answer in enumerate(answers[1:]):
            np.testing.assert_array_equal(answer["y"], np.full((3, 2), 2 * n))
        await batcher.close()

    run(test)


def test_a_request_beyond_the_batch_runs_in_parts_and_comes_back_whole() -> None:
    async def test() -> None:
        graph = Graph()
        batcher = Batcher(graph, Limits(batch=8, queue=4))
        x = np.arange(40, dtype=np.float32).reshape(20, 2)
        found = await batcher.answer({"x": x}, 20)
        np.testing.assert_array_equal(found["y"], 2 * x)
        assert graph.rows == [8, 8, 4]
        await batcher.close()

    run(test)


def test_shapes_are_not_mixed() -> None:
    async def test() -> None:
        batcher, graph, first = await held_batcher(Limits(batch=8))
        widths = [2, 3, 2, 3]
        waiting = [asyncio.create_task(batcher.answer(rows(1, 1, w), 1)) for w in widths]
        await until(lambda: batcher.waiting == 4)
        graph.go.set()
        await asyncio.gather(first, *waiting)
        assert graph.shapes == [(1, 2), (2, 2), (2, 3)]
        await batcher.close()

    run(test)


def test_calls_that_cannot_be_joined_run_alone() -> None:
    async def test() -> None:
        batcher, graph, first = await held_batcher(Limits(batch=8), joins=False)
        waiting = [asyncio.create_task(batcher.answer(rows(3), 1)) for _ in range(2)]
        await until(lambda: batcher.waiting == 2)
        graph.go.set()
        await asyncio.gather(first, *waiting)
        assert graph.rows == [1, 3, 3]
        await batcher.close()

    run(test)


def test_cancelled_requests_leave_the_queue() -> None:
    async def test() -> None:
        batcher, graph, first = await held_batcher(Limits(batch=8))
        gone = asyncio.create_task(batcher.answer(rows(3), 3))
        stays = asyncio.create_task(batcher.answer(rows(2), 2))
        await until(lambda: batcher.waiting == 5)
        gone.cancel()
        await until(lambda: batcher.waiting == 2)
        graph.go.set()
        await asyncio.gather(first, stays)
        assert graph.rows == [1, 2]
        await batcher.close()

    run(test)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back() -> None:
    async def test() -> None:
        refused: list[str] = []
        batcher, graph, first = await held_batcher(
            Limits(batch=4, queue=4), watch=Watch(refused=refused.append)
        )
        waiting = asyncio.create_task(batcher.answer(rows(4), 4))
        await until(lambda: batcher.waiting == 4)
        with pytest.raises(RefusedError, match="4 rows wait") as full:
            await batcher.answer(rows(1), 1)
        assert full.value.status == 503
        assert full.value.retry_after
        assert refused == ["queue"]
        graph.go.set()
        await asyncio.gather(first, waiting)
        await batcher.close()

    run(test)


def test_a_deadline_that_passes_in_the_queue() -> None:
    async def test() -> None:
        refused: list[str] = []
        batcher, graph, first = await held_batcher(
            Limits(batch=4), watch=Watch(refused=refused.append)
        )
        loop = asyncio.get_running_loop()
        import time

        with pytest.raises(RefusedError, match="deadline") as late:
            await batcher.answer(rows(1), 1, time.monotonic() + 0.05)
        assert late.value.status == 503
        assert batcher.waiting == 0
        assert refused == ["deadline"]
        soon = asyncio.create_task(batcher.answer(rows(1), 1, time.monotonic() + 1000))
        await until(lambda: batcher.waiting == 1)
        graph.go.set()
        await asyncio.gather(first, soon)
        assert loop.is_running()
        assert graph.rows == [1, 1]
        await batcher.close()

    run(test)


def test_one_bad_input_costs_only_its_own_request() -> None:
    async def test() -> None:
        batcher, graph, first = await held_batcher(Limits(batch=64))
        values = [1.0, 2.0, -1.0, 4.0, 5.0]
        waiting = [asyncio.create_task(batcher.answer(rows(2, v), 2)) for v in values]
        await until(lambda: batcher.waiting == 10)
        graph.go.set()
        await first
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        for value, answer in zip(values, answers, strict=True):
            if value < 0:
                assert isinstance(answer, RefusedError)
                assert answer.status == 500
            else:
                assert not isinstance(answer, BaseException)
                np.testing.assert_array_equal(answer["y"], np.full((2, 2), 2 * value))
        assert graph.rows[1] == 10  # they had been one batch
        await batcher.close()

    run(test)


def test_a_bug_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        def graph(feeds: Arrays) -> Arrays:
            if feeds["x"][0, 0] == 7:
                raise ZeroDivisionError("a bug")
            return {"y": feeds["x"]}

        batcher = Batcher(graph, Limits())
        with pytest.raises(RefusedError, match="internal error"):
            await batcher.answer(rows(1, 7), 1)
        await batcher.answer(rows(1, 1), 1)
        await batcher.close()

    run(test)
    assert "ZeroDivisionError" in caplog.text


def test_delay_waits_for_others_and_not_once_the_batch_is_full() -> None:
    async def test() -> None:
        graph = Graph()
        batcher = Batcher(graph, Limits(batch=4, delay=1000.0))
        waiting = [asyncio.create_task(batcher.answer(rows(1), 1)) for _ in range(3)]
        await until(lambda: batcher.waiting == 3)
        await asyncio.sleep(0.02)
        assert not graph.rows
        waiting.append(asyncio.create_task(batcher.answer(rows(1), 1)))
        await asyncio.gather(*waiting)
        assert graph.rows == [4]
        await batcher.close()
        graph = Graph()
        batcher = Batcher(graph, Limits(batch=4, delay=0.01))
        await batcher.answer(rows(1), 1)
        assert graph.rows == [1]
        await batcher.close()

    run(test)


def test_closing_lets_what_waits_run_and_refuses_the_rest() -> None:
    async def test() -> None:
        batcher, graph, first = await held_batcher(Limits(batch=4))
        waiting = asyncio.create_task(batcher.answer(rows(2), 2))
        await until(lambda: batcher.waiting == 2)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(RefusedError, match="unloaded"):
            await batcher.answer(rows(1), 1)
        graph.go.set()
        await asyncio.gather(first, waiting, closing)
        assert graph.rows == [1, 2]

    run(test)
