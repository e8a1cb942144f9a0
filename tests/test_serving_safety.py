"""What a server must not do: take anything of any size from anybody, however slowly it comes."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import BundleError, MachineError
from dlkit.serving.bounds import Bounds
from dlkit.serving.loading import Wanted
from dlkit.serving.server import Server
from tests.served import client, less_the_mean, logarithm, serving, tensor

KEY = "0123456789abcdef0123456789abcdef"
DIGITS = "/v2/models/digits/infer"
PIXELS = np.zeros((1, 28, 28), np.uint8)
REQUEST = {"inputs": [tensor("pixels", PIXELS, "UINT8")]}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = {"digits": Wanted("digits", queue=8)}
    with serving(models, key=KEY, bounds=Bounds(body=1 << 20, seconds=0.7)) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    with client(server, headers={"authorization": f"Bearer {KEY}"}) as http:
        yield http


def error(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["error"])


@pytest.mark.parametrize("given", [None, "", "Bearer", f"Bearer {KEY}x", f"Basic {KEY}", KEY])
def test_a_key_is_demanded(server: Server, given: str | None) -> None:
    headers = {} if given is None else {"authorization": given}
    with client(server, headers=headers) as http:
        for path in ("/v2", "/models", "/metrics", "/openapi.json", "/v2/models/digits"):
            answer = http.get(path)
            error(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        error(http.post(DIGITS, json=REQUEST), 401)
        error(http.post("/recognize", content=b"x"), 401)
        error(http.post("/v2/repository/models/digits/unload"), 401)
        for path in ("/v2/health/live", "/v2/health/ready", "/", "/docs", "/page.js"):
            assert http.get(path).status_code == 200


def test_with_the_key(http: httpx.Client) -> None:
    assert http.post(DIGITS, json=REQUEST).status_code == 200


def test_pages_of_other_sites_may_not_ask(server: Server, http: httpx.Client) -> None:
    error(http.post(DIGITS, json=REQUEST, headers={"origin": "https://evil.example"}), 403)
    own = f"http://127.0.0.1:{server.port}"
    assert http.post(DIGITS, json=REQUEST, headers={"origin": own}).status_code == 200
    error(http.get("/v2", headers={"host": "evil.example"}), 403)  # DNS rebinding
    assert http.get("/v2", headers={"host": f"localhost:{server.port}"}).status_code == 200


def test_headers_of_every_answer(http: httpx.Client) -> None:
    for answer in (http.get("/"), http.post(DIGITS, json=REQUEST), http.get("/none")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert answer.headers["x-request-id"]
    given = http.get("/v2", headers={"x-request-id": "mine"})
    assert given.headers["x-request-id"] == "mine"
    strange = http.get("/v2", headers={"x-request-id": "a" * 200})
    assert strange.headers["x-request-id"] != "a" * 200


def test_bodies_have_a_limit(http: httpx.Client) -> None:
    error(http.post(DIGITS, content=bytes((1 << 20) + 1)), 413)

    def parts() -> Iterator[bytes]:  # whose length nobody says
        for _ in range(20):
            yield bytes(1 << 16)

    with contextlib.suppress(httpx.TransportError):  # it may end it before all was sent
        error(http.post(DIGITS, content=parts()), 413)
    bomb = gzip.compress(bytes(64 << 20))
    assert len(bomb) < 1 << 20
    answer = http.post(DIGITS, content=bomb, headers={"content-encoding": "gzip"})
    error(answer, 413)


def test_pixels_have_a_limit(http: httpx.Client) -> None:
    """By the header of the file, before anything is decoded."""
    png = bytearray(cv2.imencode(".png", PIXELS[0])[1].tobytes())
    import zlib

    png[16:24] = (60_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(bytes(png[12:29])).to_bytes(4, "big")
    assert "pixels" in error(http.post("/recognize", content=bytes(png)), 400)


def test_a_deadline_of_a_request(http: httpx.Client) -> None:
    for timeout in (-1, 1.5, "1", True):
        error(http.post(DIGITS, json={**REQUEST, "parameters": {"timeout": timeout}}), 400)
    given = {**REQUEST, "parameters": {"timeout": 60_000_000}}
    assert http.post(DIGITS, json=given).status_code == 200


def talk(server: Server, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as one:
        for part in parts:
            one.sendall(part)
            time.sleep(pause)
        found = b""
        while part := one.recv(65536):
            found += part
        return found


@pytest.mark.long
def test_slow_senders_are_ended(server: Server) -> None:
    assert talk(server) == b""  # a connection that says nothing
    assert b" 408 " in talk(server, b"POST /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n")
    body = b"POST " + DIGITS.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n"
    key = f"Authorization: Bearer {KEY}\r\n\r\n".encode()
    answer = talk(server, body + key + b"{")
    assert b" 408 " in answer
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"]


def test_heads_have_a_limit(server: Server) -> None:
    start = b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert b" 431 " in talk(server, start + b"X: " + b"a" * 70_000)
    assert b" 400 " in talk(server, b"NO HTTP AT ALL\r\n\r\n")


def test_many_slow_connections_do_not_keep_others_out(server: Server, http: httpx.Client) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))  # both ends are here
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
    try:
        for one in slow:
            one.sendall(b"POST /v2 HTTP/1.1\r\n")
        assert http.post(DIGITS, json=REQUEST).status_code == 200
    finally:
        for one in slow:
            one.close()


def test_a_client_that_hangs_up_costs_nothing(server: Server, http: httpx.Client) -> None:
    body = json.dumps(REQUEST).encode()
    head = f"POST {DIGITS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    for part in (body[:50], body):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port)) as one:
                one.sendall(f"{head}Authorization: Bearer {KEY}\r\n\r\n".encode() + part)
    assert http.post(DIGITS, json=REQUEST).status_code == 200
    batcher, until = server.repository.get("digits").batcher, time.monotonic() + 10
    while batcher.waiting and time.monotonic() < until:
        time.sleep(0.01)  # the last one's request may still be under way
    assert batcher.waiting == 0


def test_requests_are_never_mixed(server: Server) -> None:
    """Many clients at once, each answer compared with that for the same image alone."""
    images = np.random.default_rng(1).integers(0, 256, (40, 1, 28, 28), dtype=np.uint8)
    wrong: list[int] = []

    def ask(http: httpx.Client, index: int) -> Any:
        request = {"id": str(index), "inputs": [tensor("pixels", images[index], "UINT8")]}
        while (answer := http.post(DIGITS, json=request)).status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
            time.sleep(0.01)
        return answer.json()

    def run(first: int) -> None:
        with client(server, headers={"authorization": f"Bearer {KEY}"}) as http:
            for index in range(first, 40, 8):
                found = ask(http, index)
                same = np.allclose(found["outputs"][0]["data"], alone[index], atol=1e-5)
                if not same or found["id"] != str(index):
                    wrong.append(index)

    with client(server, headers={"authorization": f"Bearer {KEY}"}) as http:
        alone = [ask(http, index)["outputs"][0]["data"] for index in range(40)]
    threads = [threading.Thread(target=run, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.long
def test_a_busy_model_does_not_keep_others_waiting() -> None:
    """While scans wait in their own queue, digits are answered."""
    with serving({"digits": "digits", "mmwave": Wanted("mmwave", queue=64)}) as server:
        scan = np.zeros((1, 320, 192), np.uint8)
        body = json.dumps({"inputs": [tensor("pixels", scan, "UINT8")]}).encode()
        waiting = server.repository.get("mmwave").batcher
        end = threading.Event()

        def ask() -> None:
            with client(server) as http:
                while not end.is_set():
                    assert http.post("/v2/models/mmwave/infer", content=body).status_code == 200

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        try:
            while not waiting.waiting:
                time.sleep(0.005)
            before = server.repository.get("mmwave").statistics.rows
            with client(server) as http:
                for _ in range(20):
                    assert http.post(DIGITS, json=REQUEST).status_code == 200
            assert server.repository.get("mmwave").statistics.rows > before  # it went on, too
        finally:
            end.set()
            for thread in threads:
                thread.join()


def test_rows_that_are_not_independent_are_not_joined(tmp_path: Path) -> None:
    """And a request's own rows are never cut, either."""
    with serving({"mean": str(less_the_mean(tmp_path / "mean").path)}) as server:
        assert not server.repository.get("mean").loaded.joins
        with client(server) as http:
            x = np.arange(300, dtype=np.float32).reshape(100, 3)
            request = {"inputs": [tensor("x", x, "FP32")]}
            (output,) = http.post("/v2/models/mean/infer", json=request).json()["outputs"]
            found = np.array(output["data"]).reshape(100, 3)
            np.testing.assert_allclose(found, x - x.mean(axis=0), atol=1e-3)


def test_only_certified_bundles_where_that_is_asked_for(tmp_path: Path) -> None:
    path = str(logarithm(tmp_path / "log").path)
    with (
        pytest.raises(BundleError, match="no certificate"),
        serving({"log": Wanted(path, require_certificate=True)}),
    ):
        pass
    with serving({"digits": Wanted("digits", require_certificate=True)}) as server:
        assert server.repository.ready


def test_a_port_that_is_taken(server: Server) -> None:
    with pytest.raises(MachineError, match="port"), serving({"d": "digits"}, port=server.port):
        pass


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--host", "0.0.0.0"], "--no-key"),
        (["--max-body", "64XB"], "--max-body"),
        (["--key-file", "none.txt"], "none.txt"),
        (["digits", "digits"], "NAME=BUNDLE"),
        (["a/b=digits"], "slashes"),
        (["nothing"], "no bundle"),
    ],
)
def test_options_that_cannot_be(arguments: list[str], word: str) -> None:
    found = CliRunner().invoke(app, ["serve", *arguments])
    assert found.exception is not None
    assert word in str(found.exception)


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("short\n")
    found = CliRunner().invoke(app, ["serve", "--key-file", str(file)])
    assert "expected 16 or more" in str(found.exception)
