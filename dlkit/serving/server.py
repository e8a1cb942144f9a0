"""The server: both protocols on one event loop, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import uvicorn
from starlette.routing import Router

from dlkit.errors import MachineError
from dlkit.processors import cpu_count
from dlkit.serving.access import AccessLog, open_log
from dlkit.serving.bounds import Bounds
from dlkit.serving.loading import Wanted
from dlkit.serving.metrics import Metrics
from dlkit.serving.repository import Repository
from dlkit.serving.rpc.server import Rpc
from dlkit.serving.safety import Safety, is_loopback
from dlkit.serving.web.connection import Connection
from dlkit.serving.web.doors import PUBLIC, DoorRoutes
from dlkit.serving.web.front import Front
from dlkit.serving.web.inference import InferenceRoutes

_LOG = logging.getLogger(__name__)
_BACKLOG = 2048
_LINGER = 1.0  # seconds in which clients see that it ends, and what is on its way arrives
_KEEP_ALIVE = 65  # seconds: longer than the minute of most proxies, which would else meet an end
_TICK = 0.02


@dataclass(frozen=True)
class Settings:
    """How a server runs.

    Attributes:
        models: by the names that clients use.
        host: it listens there; of several addresses of a name on the first.
        port, grpc_port: 0 is any that is free; None: no gRPC.
        key: that requests must bring; None: anybody.
        grace: seconds in which running requests may end.
        access_log: a file, ``-`` or ``none``.
    """

    models: Mapping[str, Wanted]
    host: str = "127.0.0.1"
    port: int = 8000
    grpc_port: int | None = 8001
    key: str | None = None
    grace: float = 30.0
    access_log: str = "none"
    bounds: Bounds = field(default_factory=Bounds)


class Server:
    """A server; ``run`` serves until a signal ends it.

    Attributes:
        port, grpc_port: where it listens, once it does.
    """

    def __init__(
        self, settings: Settings, on_ready: Callable[[Server], None] = lambda server: None
    ) -> None:
        self.settings = settings
        self._on_ready = on_ready
        self.port, self.grpc_port = settings.port, settings.grpc_port
        self._end: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or ``end``; all that had begun is answered first.

        Raises:
            MachineError: an address is taken.
            DlkitError: a bundle cannot be served.
        """
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve())

    def end(self) -> None:
        """End, from any thread."""
        if self._loop is not None and self._end is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._end.set)

    async def _serve(self) -> None:
        settings = self.settings
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        hands = ThreadPoolExecutor(max(4, 2 * cpu_count()), "dlkit-hand")
        metrics = Metrics()
        self.repository = Repository(settings.models, hands, metrics)
        log = AccessLog(open_log(settings.access_log))
        with listen(settings.host, settings.port) as listener:
            self.port = listener.getsockname()[1]
            try:
                await asyncio.gather(*map(self.repository.load, settings.models))
                await self._answer(listener, metrics, log)
            finally:
                await self.repository.close()
                hands.shutdown(wait=False, cancel_futures=True)
                log.close()

    async def _answer(self, listener: socket.socket, metrics: Metrics, log: AccessLog) -> None:
        """Both protocols, until it is told to end."""
        settings, loop = self.settings, asyncio.get_running_loop()
        safety = Safety(settings.key, is_loopback(settings.host))
        routes = [
            *InferenceRoutes(self.repository, settings.bounds).routes(),
            *DoorRoutes(self.repository, settings.bounds, metrics).routes(),
        ]
        self.front = Front(Router(routes), PUBLIC, safety, metrics, log)
        rpc = Rpc(self.repository, settings.bounds, safety, metrics, log)
        if settings.grpc_port is not None:
            self.grpc_port = await rpc.start(settings.host, settings.grpc_port)
        web = _Web(self._config())
        assert self._end is not None
        with self._signals(loop):
            serving = loop.create_task(web.serve(sockets=[listener]))
            while not web.started and not serving.done():
                await asyncio.sleep(_TICK)
            self._on_ready(self)
            ended = loop.create_task(self._end.wait())
            await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            try:
                async with asyncio.timeout(settings.grace):
                    await self._drain(web, serving, rpc, listener)
            except TimeoutError:
                _LOG.error("requests that ran longer than %g seconds were ended", settings.grace)
                await rpc.stop(0)

    async def _drain(
        self, web: _Web, serving: asyncio.Task[None], rpc: Rpc, listener: socket.socket
    ) -> None:
        """Tell that it ends, let what runs end, and what is on its way arrive; then end."""
        self.repository.draining = True
        self.front.closing = True
        stopping = asyncio.ensure_future(rpc.stop(self.settings.grace))
        await asyncio.sleep(_LINGER)
        queue = listener.dup()  # keeps the system's queue while uvicorn closes its own
        for server in web.servers:
            server.close()
        await asyncio.sleep(_TICK)
        await self._take_last(queue, web)
        until = time.monotonic() + _LINGER
        while web.server_state.connections and (self.front.running or time.monotonic() < until):
            await asyncio.sleep(_TICK)
        web.should_exit = True
        await asyncio.gather(serving, stopping)

    async def _take_last(self, queue: socket.socket, web: _Web) -> None:
        """Close the queue of connections; those in it would be reset, so they are taken first."""
        taken = []
        with queue:
            queue.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    taken.append(queue.accept()[0])
        loop, protocol = asyncio.get_running_loop(), cast(Any, web.config.http_protocol_class)
        state = {"config": web.config, "server_state": web.server_state, "app_state": {}}
        for one in taken:
            await loop.connect_accepted_socket(lambda: protocol(**state, _loop=loop), one)

    def _config(self) -> uvicorn.Config:
        bounds = self.settings.bounds
        protocol = type(
            "Bounded", (Connection,), {"seconds": bounds.seconds, "header": bounds.header}
        )
        return uvicorn.Config(
            self.front,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE,
        )

    @contextlib.contextmanager
    def _signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """SIGTERM and SIGINT end it, SIGHUP loads all bundles anew; in the main thread alone."""
        assert self._end is not None
        handlers: dict[signal.Signals, Callable[[], Any]] = {
            signal.SIGTERM: self._end.set,
            signal.SIGINT: self._end.set,
        }
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = lambda: loop.create_task(self.repository.load_all())
        done = []
        for number, handler in handlers.items():
            with contextlib.suppress(ValueError, NotImplementedError, RuntimeError):
                loop.add_signal_handler(number, handler)
                done.append(number)
        try:
            yield
        finally:
            for number in done:
                loop.remove_signal_handler(number)


class _Web(uvicorn.Server):
    """uvicorn's server, whose signals are handled by who holds it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        MachineError: the address is taken, or is none of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise MachineError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}",
            "Another program may have it: choose another --port, or end that one",
        ) from error
    listener.setblocking(False)
    return listener


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed: half the time for a small request."""
    if sys.platform == "win32":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
