"""A connection over HTTP that is bounded: in the size of its head, and in how slowly it comes."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dlkit.serving.json_tensors import dump

_STATUS = {400: b"400 Bad Request", 408: b"408 Request Timeout", 431: b"431 Headers Too Large"}


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which would wait for a head for ever, and take one of any size.

    Attributes:
        seconds: in which a request's head must have come, once the connection stands.
        header: bytes of a head.
    """

    seconds: ClassVar[float] = 30.0
    header: ClassVar[int] = 64 << 10

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._slow: asyncio.TimerHandle | None = None
        self._head = 0  # bytes since the head began; -1 behind it

    def connection_made(self, transport: Any) -> None:
        """The first request may begin."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It ended."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        if self._head >= 0:
            self._head += len(data)
            before = self._head
            super().data_received(data)
            if self._head == before and self._head > self.header:  # and it still goes on
                self._refuse(431, f"the request's head has more than {self.header} bytes")
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head = max(self._head, 0)
        if self._slow is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """A head came whole."""
        self._rest()
        self._head = -1
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP."""
        self._refuse(400, msg)

    def _wait(self) -> None:
        self._slow = self.loop.call_later(self.seconds, self._too_slow)

    def _rest(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _too_slow(self) -> None:
        self._slow = None
        if self._head:
            self._refuse(408, f"the request's head did not come in {self.seconds:g} seconds")
        else:
            self.transport.close()

    def _refuse(self, status: int, what: str) -> None:
        if self.transport.is_closing():
            return
        body = dump({"error": what})
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        self.transport.write(
            head % (_STATUS[status], len(body)) + b"connection: close\r\n\r\n" + body
        )
        self.transport.close()
