"""One way to serve a bundle, measured: a server on loopback, and load from a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlkit.bench import calls
from dlkit.bench.budget import Budget, Load, Setting, Trial
from dlkit.bundle import Bundle
from dlkit.errors import BackendError
from dlkit.tasks.tensors import random_feeds

MOST_CLIENTS = 64
_START = 120.0  # seconds in which a server must listen
_GROWTH = 1.02  # with twice the clients, below which more of them are not tried
_KINDS = {"u": "UINT", "i": "INT", "f": "FP"}


@dataclass(frozen=True)
class Bench:
    """How settings are measured.

    Attributes:
        size, axes: of free axes, as ``dlkit bench`` has them.
        seconds: of each number of clients.
    """

    budget: Budget
    seconds: float
    size: tuple[int, int]
    axes: Mapping[str, int]
    scratch: Path

    def measure(self, setting: Setting) -> Trial:
        """Twice the clients each time, until the budget is spent or there is no more to gain."""
        body, length = self._request(setting.bundle)
        best: Load | None = None
        try:
            with served(setting) as port:
                clients = 1
                while clients <= MOST_CLIENTS:
                    found = self._load(port, body, length, clients)
                    if not found.within(self.budget):
                        return Trial(setting, best or found)
                    if best is not None and found.rate < _GROWTH * best.rate:
                        return Trial(setting, max(best, found, key=lambda one: one.rate))
                    best, clients = found, clients * 2
        except BackendError as error:
            return Trial(setting, None, error.what)
        return Trial(setting, best)

    def _load(self, port: int, body: Path, length: int, clients: int) -> Load:
        done = subprocess.run(
            [
                sys.executable, "-m", "dlkit.bench.load", str(port), "/v2/models/model/infer",
                str(body), str(clients), f"{self.seconds:g}",
                f"Inference-Header-Content-Length: {length}",
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BackendError(f"it does not answer ({_last(done.stderr)})")
        found = json.loads(done.stdout)
        if found["failed"]:
            raise BackendError(f"{found['failed']} requests were refused by {clients} clients")
        if not found["per_s"]:
            raise BackendError(f"no answer came within {self.seconds:g} s")
        return Load(clients, found["per_s"], found["p50"], found["p90"], found["p99"])

    def _request(self, bundle: Bundle) -> tuple[Path, int]:
        """A file with one row of random values in binary tensors, and the length of its head."""
        spec = bundle.spec
        feeds = random_feeds(spec, calls.input_shapes(spec, 1, self.size, self.axes), 0)
        parts = [np.ascontiguousarray(array).tobytes() for array in feeds.values()]
        inputs = [
            {
                "name": name,
                "datatype": _datatype(array.dtype),
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(part)},
            }
            for (name, array), part in zip(feeds.items(), parts, strict=True)
        ]
        head = {"inputs": inputs, "parameters": {"binary_data_output": True}}
        text = json.dumps(head).encode()
        path = self.scratch / f"{bundle.sha256[:16]}.body"
        path.write_bytes(text + b"".join(parts))
        return path, len(text)


@contextmanager
def served(setting: Setting) -> Iterator[int]:
    """A server of its own; gives its port.

    Raises:
        BackendError: it does not start.
    """
    with tempfile.TemporaryFile("w+") as said:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "dlkit", "serve", f"model={setting.bundle.path.resolve()}",
                "--port", "0", "--grpc-port", "-1", "--grace", "1", *setting.arguments(),
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stderr is not None
        found: list[int] = []
        listening = threading.Event()

        def read() -> None:
            assert server.stderr is not None
            for line in server.stderr:
                said.write(line)
                if match := re.search(r"http://\S+:(\d+)", line):
                    found.append(int(match[1]))
                    listening.set()
            listening.set()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            listening.wait(_START)
            if not found:
                server.kill()
                reader.join()
                said.seek(0)
                raise BackendError(f"the server does not start ({_last(said.read())})")
            yield found[0]
        finally:
            _end(server)
            reader.join()
            server.stderr.close()


def _end(server: subprocess.Popen[str]) -> None:
    server.terminate()
    until = time.monotonic() + 10
    while server.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    server.kill()
    server.wait()


def _datatype(dtype: np.dtype[np.generic]) -> str:
    if dtype == np.bool_:
        return "BOOL"
    return f"{_KINDS[dtype.kind]}{dtype.itemsize * 8}"


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
