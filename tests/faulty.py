"""A server between dlkit and a store that answers some requests wrongly, late or not at all."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

CODES = {
    403: "ExpiredToken", 409: "ConditionalRequestConflict", 412: "PreconditionFailed",
    500: "InternalError", 503: "SlowDown",
}  # fmt: skip


class Request(NamedTuple):
    """What a rule sees.

    Attributes:
        path: with the bucket, quoted, without the query.
        number: of all requests, from 0.
        conditional: it is a put with If-None-Match.
    """

    method: str
    path: str
    number: int
    conditional: bool


Rule = Callable[[Request], int]  # a status to answer with; 0 lets it through


class Proxy(ThreadingHTTPServer):
    """Passes requests on, unless its ``rule`` says otherwise; counts them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = port
        self.rule: Rule = lambda request: 0
        self.count = 0
        self.lock = threading.Lock()
        self.seen: list[Request] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no matter."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            number = self.server.count
            self.server.count += 1
        conditional = "If-None-Match" in self.headers
        request = Request(self.command, self.path.partition("?")[0], number, conditional)
        self.server.seen.append(request)
        if status := self.server.rule(request):
            text = f"<Error><Code>{CODES[status]}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)
            return
        link = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        try:
            link.request(self.command, self.path, body, dict(self.headers))
            answer = link.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(data)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            self.wfile.write(data)
        finally:
            link.close()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815


@contextmanager
def proxy(port: int) -> Iterator[Proxy]:
    """A running proxy in front of a server."""
    with Proxy(port) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def slow(seconds: float, rule: Rule = lambda request: 0) -> Rule:
    """Every fifth answer is late."""

    def late(request: Request) -> int:
        if request.number % 5 == 0:
            time.sleep(seconds)
        return rule(request)

    return late
