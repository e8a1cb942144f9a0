"""Calls of a graph that wait, and how several are run as one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Key: TypeAlias = tuple[tuple[int, ...], ...]
# The graph on some rows: outputs by name. It raises ``GraphError`` where the backend does.
Graph: TypeAlias = Callable[[Arrays], Arrays]

_LOG = logging.getLogger(__name__)


class GraphError(Exception):
    """The backend failed on a batch: the fault of an input or of the machine, no bug."""


@dataclass(eq=False, slots=True)
class Call:
    """Some rows that wait for their answer.

    Attributes:
        feeds: an array for every input, with its batch axis.
        rows: on that axis; 1 where the model's calls cannot be joined.
        key: calls of one key can run together.
        future: gets the outputs, or a ``RefusedError``.
        arrived, deadline: of ``time.monotonic``; it must begin to run before the deadline.
    """

    feeds: Arrays
    rows: int
    key: Key
    future: asyncio.Future[Arrays]
    arrived: float
    deadline: float | None = None
    timer: asyncio.TimerHandle | None = None


@dataclass
class Watch:
    """What is told of each batch and each refusal, for metrics; all in the event loop."""

    batch: Callable[[Sequence[Call], float, float], None] = lambda calls, began, ended: None
    failed: Callable[[], None] = lambda: None
    refused: Callable[[str], None] = lambda why: None


@dataclass
class Limits:
    """How a model's calls are joined and bounded.

    Attributes:
        batch: most rows that run together.
        delay: seconds that a call may wait for others while a thread is free.
        queue: most rows that wait.
        workers: threads that run the graph.
    """

    batch: int = 1
    delay: float = 0.0
    queue: int = 1024
    workers: int = 1


def run_together(graph: Graph, calls: Sequence[Call]) -> list[Arrays | BaseException]:
    """Outputs for each call. A batch that fails is halved until it runs, as ``Runner`` does it:
    one bad input costs only itself."""
    try:
        if len(calls) == 1:
            return [graph(calls[0].feeds)]
        names = calls[0].feeds
        feeds = {name: np.concatenate([call.feeds[name] for call in calls]) for name in names}
        outputs = graph(feeds)
    except (GraphError, MemoryError) as error:
        if len(calls) == 1:
            _LOG.warning("the graph failed on one request: %s", error)
            return [GraphError()]
        half = (len(calls) + 1) // 2
        return [*run_together(graph, calls[:half]), *run_together(graph, calls[half:])]
    found: list[Arrays | BaseException] = []
    at = 0
    for call in calls:
        found.append({name: array[at : at + call.rows] for name, array in outputs.items()})
        at += call.rows
    return found
