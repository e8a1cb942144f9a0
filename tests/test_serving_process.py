"""``dlkit serve`` as a process: it starts, drains, swaps bundles, and ends with the right code."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.graphs import bundle, graph, node, value
from tests.served import tensor

PIXELS = np.zeros((1, 28, 28), np.uint8)


@contextmanager
def process(*arguments: object, stdout: Any = subprocess.PIPE) -> Iterator[tuple[Any, str]]:
    """A running server and its address."""
    command = [sys.executable, "-m", "dlkit", "serve", "--port", "0", "--grpc-port", "0"]
    run = subprocess.Popen(
        [*command, *map(str, arguments)], stdout=stdout, stderr=subprocess.PIPE, text=True
    )
    try:
        assert run.stderr is not None
        lines = []
        for line in run.stderr:
            lines.append(line)
            if line.startswith("grpc://"):
                break
        found = re.search(r"http://[^\s]+", "".join(lines))
        assert found, "".join(lines)
        run.rpc = lines[-1].strip().removeprefix("grpc://")  # type: ignore[attr-defined]
        yield run, found.group()
    finally:
        run.kill()
        run.communicate()


def scaled(path: Path, factor: float) -> Path:
    """y = factor * x."""
    made = graph(
        [node("Mul", ["x", "factor"], ["y"])],
        [value("x", ("n", 2))],
        [value("y", ("n", 2))],
        {"factor": np.float32(factor)},
    )
    return bundle(path, made).path


class Asking:
    """Clients that ask until they are told to end, and note every answer and every loss."""

    def __init__(self, address: str, path: str, request: Any, count: int = 4) -> None:
        self.answers: list[Any] = []
        self.lost: list[str] = []
        self.refused = 0
        self._end = threading.Event()
        self._address, self._path, self._request = address, path, request
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as http:
            while not self._end.is_set():
                try:
                    answer = http.post(self._path, json=self._request)
                except httpx.ConnectError:  # nobody listens any more: nothing was sent
                    self.refused += 1
                    return
                except httpx.HTTPError as error:
                    self.lost.append(repr(error))
                    return
                if answer.status_code == 200:
                    self.answers.append(answer.json())
                else:
                    self.lost.append(f"{answer.status_code} {answer.text}")


@pytest.mark.long
def test_sigterm_under_load_loses_no_request(tmp_path: Path) -> None:
    log = tmp_path / "access.jsonl"
    with process("digits", "--access-log", log) as (run, address):
        request = {"inputs": [tensor("pixels", PIXELS, "UINT8")]}
        with Asking(address, "/v2/models/digits/infer", request) as asking:
            while len(asking.answers) < 50:
                time.sleep(0.01)
            run.send_signal(signal.SIGTERM)
            unready = 0
            with httpx.Client(base_url=address) as http:
                for _ in range(50):
                    try:
                        unready += http.get("/v2/health/ready").status_code == 503
                    except httpx.HTTPError:
                        break
                    time.sleep(0.02)
            assert run.wait(30) == 0
        assert unready
        assert asking.lost == []
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    asked = [row for row in rows if row["path"].endswith("/infer")]
    assert len(asked) == len(asking.answers)
    assert {row["status"] for row in asked} == {200}
    assert len({row["id"] for row in asked}) == len(asked)
    assert {"time", "client", "ms", "bytes", "model"} <= set(asked[0])


@pytest.mark.long
@pytest.mark.parametrize("how", ["SIGHUP", "POST"])
def test_a_bundle_is_swapped_under_load(tmp_path: Path, how: str) -> None:
    """Every answer is of the bundle before or of the one after, and none is lost."""
    path = scaled(tmp_path / "scaled", 2.0)
    with process(path) as (run, address):
        request = {"inputs": [tensor("x", np.float32([[1, 10]]), "FP32")]}
        with (
            Asking(address, "/v2/models/scaled/infer", request) as asking,
            httpx.Client(base_url=address, timeout=30) as http,
        ):
            while len(asking.answers) < 20:
                time.sleep(0.01)
            shutil.rmtree(path)
            scaled(path, 3.0)
            if how == "POST":
                assert http.post("/v2/repository/models/scaled/load").status_code == 200
            else:
                run.send_signal(signal.SIGHUP)
            until = time.monotonic() + 30
            while asking.answers[-1]["outputs"][0]["data"] != [3, 30]:
                assert time.monotonic() < until
                time.sleep(0.01)
            (path / "model.onnx").write_bytes(b"damaged")  # then the one before goes on
            answer = http.post("/v2/repository/models/scaled/load")
            assert answer.status_code == 400
            assert str(tmp_path) not in answer.text
            seen = len(asking.answers)
            while len(asking.answers) < seen + 20:
                time.sleep(0.01)
        assert asking.lost == []
        found = [tuple(one["outputs"][0]["data"]) for one in asking.answers]
        assert set(found) == {(2, 20), (3, 30)}
        assert found[-1] == (3, 30)


def test_unload_lets_requests_end_and_refuses_the_next(tmp_path: Path) -> None:
    with (
        process(scaled(tmp_path / "scaled", 2.0)) as (_, address),
        httpx.Client(base_url=address, timeout=30) as http,
    ):
        assert http.post("/v2/repository/models/scaled/unload").status_code == 200
        request = {"inputs": [tensor("x", np.float32([[1, 10]]), "FP32")]}
        answer = http.post("/v2/models/scaled/infer", json=request)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert http.get("/v2/models/scaled/ready").status_code == 503
        (row,) = http.post("/v2/repository/index").json()
        assert (row["state"], row["reason"]) == ("UNAVAILABLE", "unloaded")
        assert http.get("/v2/health/ready").status_code == 200  # as it was asked for
        assert http.post("/v2/repository/models/scaled/load").status_code == 200
        assert http.post("/v2/models/scaled/infer", json=request).status_code == 200


def test_start_says_what_runs_where(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dlkit", "serve", "--port", "0", "--grpc-port", "-1"]
    run = subprocess.Popen([*command, "mine=digits"], stderr=subprocess.PIPE, text=True)
    try:
        assert run.stderr is not None
        first, second = run.stderr.readline(), run.stderr.readline()
        assert re.match(r"mine \(fp32\) on \w+, cpu; up to 64 rows together, .* certified", first)
        assert second.startswith("http://127.0.0.1:")
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 0
    finally:
        run.kill()
        run.communicate()


def test_a_thousand_slow_connections_where_few_files_may_be_open() -> None:
    """The server raises the limit that it was started with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # children have it
    with process("digits") as (_, address):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
        port = int(address.rpartition(":")[2])
        slow = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(1000)]
        try:
            for one in slow:
                one.sendall(b"POST /v2 HTTP/1.1\r\n")
            request = {"inputs": [tensor("pixels", PIXELS, "UINT8")]}
            answer = httpx.post(f"{address}/v2/models/digits/infer", json=request, timeout=30)
            assert answer.status_code == 200
        finally:
            for one in slow:
                one.close()


@pytest.mark.long
def test_a_full_disk_costs_lines_of_the_log_and_no_request() -> None:
    with process("digits", "--access-log", "/dev/full") as (run, address):
        with httpx.Client(base_url=address, timeout=30) as http:
            for _ in range(3):
                assert http.get("/v2").status_code == 200
                time.sleep(0.3)
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 0
