"""A server on loopback, in a thread of the tests' own process, and graphs to serve."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.serving.bounds import Bounds
from dlkit.serving.loading import Wanted
from dlkit.serving.server import Server, Settings
from tests.graphs import bundle, graph, node, value

TYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "float16",
    "FP32": "float32", "FP64": "float64",
}  # fmt: skip


@contextmanager
def serving(models: Mapping[str, str | Wanted], **settings: Any) -> Iterator[Server]:
    """A server that listens; it has ended when this ends."""
    ready, problems = threading.Event(), []
    wanted = {name: one if isinstance(one, Wanted) else Wanted(one) for name, one in models.items()}
    given = {"port": 0, "grpc_port": 0, "grace": 10.0, "bounds": Bounds(), **settings}
    server = Server(Settings(wanted, **given), lambda _: ready.set())

    def run() -> None:
        try:
            server.run()
        except BaseException as error:
            problems.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait(60)
    try:
        if problems:
            raise problems[0]
        yield server
    finally:
        server.end()
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"


def client(server: Server, **options: Any) -> httpx.Client:
    """A client of it."""
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60, **options)


def tensor(name: str, array: NDArray[Any], datatype: str) -> dict[str, Any]:
    """An input in JSON."""
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(array.shape),
        "data": array.ravel().tolist(),
    }


def framed(head: Any, *parts: bytes) -> tuple[bytes, dict[str, str]]:
    """A body with binary tensors behind its head, and the headers that go with it."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return b"".join([text, *parts]), {"Inference-Header-Content-Length": str(len(text))}


def unframed(response: httpx.Response) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The head of an answer, and its binary outputs by name."""
    length = int(response.headers["inference-header-content-length"])
    head = json.loads(response.content[:length])
    at, found = length, {}
    for one in head["outputs"]:
        size = one.get("parameters", {}).get("binary_data_size")
        if size is not None:
            found[one["name"]] = response.content[at : at + size]
            at += size
    assert at == len(response.content)
    return head, found


def every_type(path: Path) -> Bundle:
    """Gives every input back: one of each type, (n, 2)."""
    names = [name.lower() for name in TYPES]
    nodes = [node("Identity", [name], [f"{name}_out"]) for name in names]
    return bundle(
        path,
        graph(
            nodes,
            [value(name.lower(), ("n", 2), dtype) for name, dtype in TYPES.items()],
            [value(f"{name.lower()}_out", ("n", 2), dtype) for name, dtype in TYPES.items()],
        ),
    )


def less_the_mean(path: Path) -> Bundle:
    """x less the mean of all rows: requests must not be joined, though the axis looks free."""
    nodes = [
        node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
        node("Sub", ["x", "mean"], ["y"]),
    ]
    weights = {"axes": np.array([0], np.int64)}
    return bundle(path, graph(nodes, [value("x", ("n", 3))], [value("y", ("n", 3))], weights))


def look_up(path: Path) -> Bundle:
    """A row of a table for each number; a number beyond the table makes the whole call fail."""
    table = np.arange(12, dtype=np.float32).reshape(4, 3)
    return bundle(
        path,
        graph(
            [node("Gather", ["table", "index"], ["row"], axis=0)],
            [value("index", ("n",), "int64")],
            [value("row", ("n", 3))],
            {"table": table},
        ),
    )


def logarithm(path: Path) -> Bundle:
    """NaN for what is negative."""
    return bundle(
        path, graph([node("Log", ["x"], ["y"])], [value("x", ("n", 2))], [value("y", ("n", 2))])
    )
