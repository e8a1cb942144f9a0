"""Mixed load with faults: every answer is compared, memory stays, and nothing is lost.

``DLKIT_SOAK`` is its length in seconds, five minutes by default: in the first half caches fill.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import psutil
import pytest

import dlkit
from dlkit.bundle import SHIPPED
from dlkit.serving.rpc.messages import SERVICE, methods
from tests.graphs import bundle, graph, node, value
from tests.served import framed, tensor, unframed
from tests.test_serving_process import process

SECONDS = float(os.environ.get("DLKIT_SOAK", 300))
pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 300)]
_WARM = 0.5  # share of the time after which memory must stay
_GROWTH = 1.05


class Load:
    """Threads that ask, each in its own way, until the time is over."""

    def __init__(self, address: str, rpc: str, folder: Path) -> None:
        self.address, self.rpc, self.folder = address, rpc, folder
        self.until = time.monotonic() + SECONDS
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        random_ = np.random.default_rng(0)
        self.pixels = random_.integers(0, 256, (64, 28, 28), dtype=np.uint8)
        self.scans = [cv2.imread(str(path), -1) for path in sorted(Path("samples/scans").glob("*"))]
        with dlkit.load("digits", task="tensors") as model:
            self.expected = model.run(self.pixels)["probabilities"]
        self.cleaned = []
        with dlkit.load("mmwave") as model:
            self.cleaned = [model.denoise([scan[:200, :160]])[0] for scan in self.scans]

    def run(self) -> None:
        """All of them."""
        ways = [self.json, self.binary, self.over_grpc, self.door, self.nan, self.hangs_up,
                self.malformed, self.swaps]  # fmt: skip
        threads = [threading.Thread(target=self.repeat, args=(way,)) for way in ways * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def repeat(self, way: Any) -> None:
        """One way, again and again."""
        chance = random.Random(threading.get_ident())
        with httpx.Client(base_url=self.address, timeout=60) as http:
            while time.monotonic() < self.until:
                try:
                    way(http, chance)
                    self.counts[way.__name__] += 1
                except Exception as error:
                    self.wrong.append(f"{way.__name__}: {error!r}")

    def some(self, chance: random.Random) -> tuple[int, int]:
        first = chance.randrange(60)
        return first, chance.randint(first + 1, 64)

    def same(self, found: Any, first: int, last: int) -> None:
        wanted = self.expected[first:last].ravel()
        np.testing.assert_allclose(np.ravel(found), wanted, atol=1e-5)

    def post(self, http: httpx.Client, path: str, **given: Any) -> httpx.Response:
        while (answer := http.post(path, **given)).status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1
            self.counts["busy"] += 1
            time.sleep(0.05)
        return answer

    def json(self, http: httpx.Client, chance: random.Random) -> None:
        first, last = self.some(chance)
        id_ = str(chance.random())
        request = {"id": id_, "inputs": [tensor("pixels", self.pixels[first:last], "UINT8")]}
        answer = self.post(http, "/v2/models/digits/infer", json=request).json()
        assert answer["id"] == id_
        self.same(answer["outputs"][0]["data"], first, last)

    def binary(self, http: httpx.Client, chance: random.Random) -> None:
        first, last = self.some(chance)
        part = self.pixels[first:last]
        one = {"name": "pixels", "datatype": "UINT8", "shape": part.shape,
               "parameters": {"binary_data_size": part.nbytes}}  # fmt: skip
        head = {"inputs": [one], "parameters": {"binary_data_output": True}}
        body, headers = framed(head, part.tobytes())
        answer = self.post(http, "/v2/models/digits/infer", content=body, headers=headers)
        self.same(np.frombuffer(unframed(answer)[1]["probabilities"], "<f4"), first, last)

    def over_grpc(self, http: httpx.Client, chance: random.Random) -> None:
        first, last = self.some(chance)
        part = self.pixels[first:last]
        request, answer = methods()["ModelInfer"]
        row = {"name": "pixels", "datatype": "UINT8", "shape": part.shape}
        with grpc.insecure_channel(self.rpc) as channel:
            ask = channel.unary_unary(
                f"/{SERVICE}/ModelInfer", request_serializer=request.SerializeToString,
                response_deserializer=answer.FromString,
            )  # fmt: skip
            found = ask(
                request(model_name="digits", inputs=[row], raw_input_contents=[part.tobytes()]),
                timeout=60,
            )
        self.same(np.frombuffer(found.raw_output_contents[0], "<f4"), first, last)

    def door(self, http: httpx.Client, chance: random.Random) -> None:
        at = chance.randrange(len(self.scans))
        data = cv2.imencode(".png", self.scans[at][:200, :160])[1].tobytes()
        answer = self.post(http, "/denoise", content=data)
        found = cv2.imdecode(np.frombuffer(answer.content, np.uint8), -1)
        assert np.abs(found.astype(int) - self.cleaned[at]).max() <= 1

    def nan(self, http: httpx.Client, chance: random.Random) -> None:
        low = -1 if chance.random() < 0.5 else 1
        request = {"inputs": [tensor("x", np.float32([[low, 1]]), "FP32")]}
        answer = self.post(http, "/v2/models/log/infer", json=request)
        if low < 0:
            assert answer.status_code == 500
        else:
            assert answer.json()["outputs"][0]["data"] == [0, 0]

    def hangs_up(self, http: httpx.Client, chance: random.Random) -> None:
        host, _, port = self.address.rpartition("/")[2].partition(":")
        body = json.dumps({"inputs": [tensor("pixels", self.pixels, "UINT8")]}).encode()
        head = (
            f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"
        )
        with socket.create_connection((host, int(port))) as one:
            one.sendall(f"{head}\r\n\r\n".encode() + body[: chance.randrange(len(body) + 1)])
            time.sleep(chance.random() * 0.01)

    def malformed(self, http: httpx.Client, chance: random.Random) -> None:
        body = chance.randbytes(chance.randrange(3000))
        answer = self.post(http, "/v2/models/digits/infer", content=body)
        assert answer.status_code == 400

    def swaps(self, http: httpx.Client, chance: random.Random) -> None:
        time.sleep(1.0)
        answer = http.post("/v2/repository/models/digits/load")
        assert answer.status_code == 200, answer.text


def test_mixed_load_with_faults(tmp_path: Path) -> None:
    log = bundle(
        tmp_path / "log",
        graph([node("Log", ["x"], ["y"])], [value("x", ("n", 2))], [value("y", ("n", 2))]),
    ).path
    digits = tmp_path / "digits"
    shutil.copytree(SHIPPED / "digits", digits)
    with process(f"digits={digits}", "mmwave", f"log={log}", "--access-log", tmp_path / "a") as one:
        run, address = one
        with httpx.Client(base_url=address) as http:
            assert http.get("/v2/health/ready").status_code == 200
        load = Load(address, run.rpc, tmp_path)
        server, seen = psutil.Process(run.pid), []

        def watch() -> None:
            while time.monotonic() < load.until:
                seen.append((time.monotonic(), server.memory_info().rss))
                time.sleep(0.5)

        watching = threading.Thread(target=watch)
        watching.start()
        load.run()
        watching.join()
    print(dict(load.counts), [rss >> 20 for _, rss in seen[:: max(1, len(seen) // 12)]])
    assert not load.wrong, load.wrong[:5]
    assert min(load.counts[way] for way in ("json", "binary", "over_grpc", "door")) > 5
    begin = load.until - SECONDS
    warm = [rss for at, rss in seen if _WARM < (at - begin) / SECONDS < _WARM + 0.2]
    late = [rss for at, rss in seen if (at - begin) / SECONDS > 0.8]
    assert np.median(late) < _GROWTH * np.median(warm)
