"""The front of all routes: who may ask, errors as JSON, headers, the log."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dlkit.serving.access import AccessLog, RequestIds
from dlkit.serving.json_tensors import dump
from dlkit.serving.metrics import Metrics
from dlkit.serving.refused import RefusedError, as_refused
from dlkit.serving.safety import Safety

_OPEN = ("/v2/health/live", "/v2/health/ready")  # who watches over a server has no key
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; style-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'",
    ),
]
_GONE = 499  # of the log alone: the client hung up


class Front:
    """An ASGI application around another one.

    Attributes:
        closing: connections end with their next answer.
        running: requests that are being answered.
    """

    def __init__(
        self,
        routes: ASGIApp,
        public: tuple[str, ...],
        safety: Safety,
        metrics: Metrics,
        log: AccessLog,
    ) -> None:
        self._routes, self._safety, self._metrics, self._log = routes, safety, metrics, log
        self._public = {*_OPEN, *public}
        self._ids = RequestIds()
        self.closing = False
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        told = [(b"x-request-id", (id_ := self._ids.of(headers.get(b"x-request-id"))).encode())]
        status = sent = 0

        async def sending(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [*message.get("headers", ()), *_HEADERS, *told]
                if self.closing:
                    own.append((b"connection", b"close"))
                message = {**message, "headers": own}
            else:
                sent += len(message.get("body", b""))
            await send(message)

        scope["app"] = self  # then routes raise what is not found
        about: dict[str, Any] = {}  # what routes tell the log
        scope["about"] = about
        self.running += 1
        error: RefusedError | None = None
        try:
            self._safety.check_site(headers.get(b"host"), headers.get(b"origin"))
            if scope["path"] not in self._public:
                self._safety.check_key(headers.get(b"authorization"))
            await self._routes(scope, receive, sending)
        except (ClientDisconnect, asyncio.CancelledError):
            if not about.get("gone") and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
            status = _GONE
        except Exception as found:
            error = _told(found)
        finally:
            self.running -= 1
            if error is not None and not status:
                await _say(error, sending)
            spent = time.perf_counter() - began
            self._metrics.request("http", str(status), spent)
            about.pop("gone", None)
            self._log.line(
                id=id_,
                client=(scope.get("client") or ("",))[0],
                method=scope["method"],
                path=scope["path"],
                status=status,
                bytes=sent,
                ms=round(spent * 1000, 2),
                **about,
                **({"error": str(error)} if error is not None else {}),
            )


def _told(error: Exception) -> RefusedError:
    if isinstance(error, HTTPException):  # of the routes
        words = {404: "there is no such route", 405: "the route does not take this method"}
        return RefusedError(error.status_code, words.get(error.status_code, error.detail))
    return as_refused(error)


async def _say(error: RefusedError, send: Any) -> None:
    body = dump({"error": str(error)})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after))).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status in (408, 413):  # the rest of the body is not waited for
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
