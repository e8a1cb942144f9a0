"""The service on a port: who may ask, errors as codes, the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from dlkit.errors import MachineError
from dlkit.serving.access import AccessLog, RequestIds
from dlkit.serving.bounds import Bounds
from dlkit.serving.metrics import Metrics
from dlkit.serving.refused import RefusedError, as_refused
from dlkit.serving.repository import Repository
from dlkit.serving.rpc.messages import SERVICE, methods
from dlkit.serving.rpc.service import Service
from dlkit.serving.safety import Safety

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}
_OPEN = ("ServerLive", "ServerReady")  # who watches over a server has no key
_SLACK = 1 << 16  # bytes of a message beside its tensors


class Rpc:
    """The gRPC server."""

    def __init__(
        self,
        repository: Repository,
        bounds: Bounds,
        safety: Safety,
        metrics: Metrics,
        log: AccessLog,
    ) -> None:
        self._service, self._bounds = Service(repository, bounds), bounds
        self._safety, self._metrics, self._log = safety, metrics, log
        self._ids = RequestIds()
        self._server: Any = None
        self._health: Any = None

    async def start(self, host: str, port: int) -> int:
        """Listen; gives the port.

        Raises:
            MachineError: the address is taken.
        """
        most = self._bounds.body + _SLACK
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", most),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", self._bounds.header),
                ("grpc.so_reuseport", 0),  # a taken port is an error, and not shared
            ]
        )
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._method(name, answer),
                request_deserializer=request.FromString,
                response_serializer=answer.SerializeToString,
            )
            for name, (request, answer) in methods().items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        address = f"[{host}]" if ":" in host else host
        try:
            bound = self._server.add_insecure_port(f"{address}:{port}")
        except RuntimeError as error:
            raise MachineError(
                f"cannot listen on {host}, port {port}",
                "Another program may have it: choose another --grpc-port, or end that one",
            ) from error
        await self._server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        return int(bound)

    async def stop(self, grace: float) -> None:
        """Take no new calls, and let the running ones end."""
        if self._server is not None:
            await self._health.enter_graceful_shutdown()
            await self._server.stop(grace)

    def _method(self, name: str, answer: Any) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
        run = getattr(self._service, name)

        async def method(request: Any, context: Any) -> Any:
            began = time.perf_counter()
            given = dict(context.invocation_metadata() or ())
            made, error, code = answer(), None, grpc.StatusCode.OK
            try:
                if name not in _OPEN:
                    self._safety.check_key(given.get("authorization"))
                await run(request, made)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as found:
                error = as_refused(found)
                code = _CODES.get(error.status, grpc.StatusCode.UNKNOWN)
            finally:
                self._tell(name, request, context, given, began, code, error)
            if error is not None:
                trailing: tuple[tuple[str, str], ...] = ()
                if error.retry_after is not None:
                    trailing = (("retry-after", f"{max(1, round(error.retry_after))}"),)
                await context.abort(code, str(error), trailing)
            return made

        return method

    def _tell(
        self,
        name: str,
        request: Any,
        context: Any,
        given: dict[str, Any],
        began: float,
        code: grpc.StatusCode,
        error: RefusedError | None,
    ) -> None:
        spent = time.perf_counter() - began
        self._metrics.request("grpc", code.name, spent)
        model = getattr(request, "model_name", "") or getattr(request, "name", "")
        self._log.line(
            id=self._ids.of(given.get("x-request-id")),
            client=context.peer(),
            method=name,
            status=code.name,
            ms=round(spent * 1000, 2),
            **({"model": model[:100]} if model else {}),
            **({"error": str(error)} if error is not None else {}),
        )
