"""Load for a server over HTTP, in a process of its own: some clients, each one request at a time.

    python -m dlkit.bench.load PORT PATH BODY-FILE CLIENTS SECONDS [HEADER: VALUE ...]

Prints JSON: answers a second, all answers, seconds of an answer at 50, 90 and 99 %, and how many
had another status than 200. The client is bare sockets, so that what is measured is the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

_WARM_UP = 0.25  # share of the measured time that goes before it


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it was answered."""

    def __init__(self, request: bytes, load: Load) -> None:
        self._request, self._load = request, load
        self._buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        if b"transfer-encoding: chunked" in head:
            whole = self._buffer.endswith(b"0\r\n\r\n")
        else:
            at = head.find(b"\r\ncontent-length:")
            size = int(head[at + 17 :].split(b"\r\n", 1)[0])
            whole = len(self._buffer) >= end + 4 + size
        if whole:
            now = time.perf_counter()
            self._load.answered(self._asked, now, head.split(b" ", 2)[1] == b"200")
            self._buffer.clear()
            if now < self._load.until:
                self._ask()
            else:
                self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """The server closed it, or we did."""
        if time.perf_counter() < self._load.until:
            self._load.failed += 1
        self._load.open -= 1
        if not self._load.open:
            self._load.done.set()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._request)


class Load:
    """What all clients counted."""

    def __init__(self, clients: int, seconds: float) -> None:
        self.open = clients
        self.done = asyncio.Event()
        self.begin = time.perf_counter() + seconds * _WARM_UP
        self.until = self.begin + seconds
        self.seconds = seconds
        self.spent: list[float] = []
        self.failed = 0
        self.all = 0

    def answered(self, asked: float, now: float, fine: bool) -> None:
        """One answer came."""
        self.all += fine
        if not fine:
            self.failed += 1
        elif self.begin <= now < self.until:
            self.spent.append(now - asked)


async def run(port: int, request: bytes, clients: int, seconds: float) -> dict[str, float]:
    """Ask for some seconds."""
    load = Load(clients, seconds)
    loop = asyncio.get_running_loop()
    for _ in range(clients):
        await loop.create_connection(lambda: Client(request, load), "127.0.0.1", port)
    await asyncio.wait_for(load.done.wait(), seconds * 2 + 10)
    p50, p90, p99 = np.percentile(load.spent or [float("nan")], [50, 90, 99])
    return {
        "per_s": len(load.spent) / load.seconds,
        "answered": load.all,
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "failed": load.failed,
    }


def main() -> None:
    """The command line."""
    port, path, body, clients, seconds, *headers = sys.argv[1:]
    content = Path(body).read_bytes()
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(content)}"]
    request = "\r\n".join([*lines, *headers, "", ""]).encode() + content
    try:
        import uvloop
    except ImportError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        sys.stdout.write(
            json.dumps(runner.run(run(int(port), request, int(clients), float(seconds))))
        )


if __name__ == "__main__":
    main()
