"""How much a request may take: bytes, decompressed bytes, tensors, seconds."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlkit.serving.refused import RefusedError, invalid

if TYPE_CHECKING:
    from starlette.requests import Request

_HELD = 8  # the largest bodies that are held at once
_STEP = 1 << 20  # bytes that are decompressed before the limit is looked at again
# Header bytes that zlib looks for: gzip alone; zlib, which HTTP calls deflate.
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


@dataclass
class Bounds:
    """Bounds of a server's requests.

    Attributes:
        body: bytes of one, before and after decompression.
        seconds: in which a request must have been sent.
        tensors: inputs, and outputs, of one.
        header: bytes of a request's headers.
        held: bytes of bodies that are being read or answered.
    """

    body: int = 64 << 20
    seconds: float = 30.0
    tensors: int = 256
    header: int = 64 << 10
    held: int = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """A request's body, decompressed; it counts as held until it is answered.

        Raises:
            RefusedError: it is too large or comes too slowly, or too many bytes are held already.
        """
        self._check_length(request)
        body = bytearray()
        held = 0
        try:
            try:
                async with asyncio.timeout(self.seconds):
                    async for part in request.stream():
                        held += len(part)
                        self._hold(len(part))
                        body += part
                        if len(body) > self.body:
                            raise self._too_large()
            except TimeoutError:
                raise RefusedError(
                    408, f"the body did not come in {self.seconds:g} seconds"
                ) from None
            coding = request.headers.get("content-encoding", "identity").lower()
            if coding != "identity":
                before = len(body)
                body = await asyncio.to_thread(self._decompress, body, coding)
                held += len(body) - before
                self.held += len(body) - before
            yield body
        finally:
            self.held -= held

    def _check_length(self, request: Request) -> None:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.body:
            raise self._too_large()

    def _hold(self, size: int) -> None:
        self.held += size
        if self.held > _HELD * self.body:
            raise RefusedError(503, "too many large requests at once", retry_after=1.0)

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"the body has more than {self.body} bytes")

    def _decompress(self, body: bytearray, coding: str) -> bytearray:
        if coding not in _WINDOWS:
            raise RefusedError(415, "the body's coding is neither gzip nor deflate")
        reader = zlib.decompressobj(_WINDOWS[coding])
        whole = bytearray()
        rest: bytes | bytearray = body
        try:
            while rest and not reader.eof:
                whole += reader.decompress(rest, _STEP)
                if len(whole) > self.body:
                    raise self._too_large()
                rest = reader.unconsumed_tail
        except zlib.error:
            raise invalid(f"the body is no {coding}") from None
        if not reader.eof or reader.unused_data:
            raise invalid(f"the body's {coding} is cut, or more follows it")
        return whole
