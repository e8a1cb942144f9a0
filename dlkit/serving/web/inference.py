"""The Open Inference Protocol's routes."""

from __future__ import annotations

import gzip
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dlkit.errors import DlkitError
from dlkit.serving import described
from dlkit.serving.binary import HEADER, read_body, write_body
from dlkit.serving.bounds import Bounds
from dlkit.serving.heads import read_json
from dlkit.serving.json_tensors import dump
from dlkit.serving.refused import RefusedError, invalid
from dlkit.serving.repository import READY, Repository
from dlkit.serving.web.gone import unless_gone

_LARGE = 1 << 18  # bytes from which reading and writing JSON would keep the event loop
_WORTH = 1 << 10  # bytes from which compressing an answer is worth it


def as_json(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(dump(value), status, media_type="application/json")


class InferenceRoutes:
    """Routes below /v2."""

    def __init__(self, repository: Repository, bounds: Bounds) -> None:
        self._repository, self._bounds = repository, bounds

    def routes(self) -> list[Route]:
        """All of them; the one that is asked most comes first."""
        found = []
        for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
            found += [
                Route(f"{model}/infer", self.infer, methods=["POST"]),
                Route(f"{model}/ready", self.model_ready, methods=["GET"]),
                Route(f"{model}/config", self.config, methods=["GET"]),
                Route(f"{model}/stats", self.statistics, methods=["GET"]),
            ]
        return [
            *found,
            Route("/v2/health/live", self.live, methods=["GET"]),
            Route("/v2/health/ready", self.ready, methods=["GET"]),
            Route("/v2", self.server, methods=["GET"]),
            Route("/v2/models/stats", self.statistics, methods=["GET"]),
            Route("/v2/models/{name}", self.metadata, methods=["GET"]),
            Route("/v2/models/{name}/versions/{version}", self.metadata, methods=["GET"]),
            Route("/v2/repository/index", self.index, methods=["POST"]),
            Route("/v2/repository/models/{name}/load", self.load, methods=["POST"]),
            Route("/v2/repository/models/{name}/unload", self.unload, methods=["POST"]),
        ]

    async def infer(self, request: Request) -> Response:
        """Run a model."""
        name, version = _model(request)
        about = request.scope["about"]
        async with self._bounds.read(request) as body:
            with self._repository.use(name, version) as served:
                about["model"] = name
                header = request.headers.get(HEADER)
                inputs, most = served.spec.inputs, self._bounds.tensors
                if len(body) < _LARGE or header is not None:
                    inference = read_body(header, body, inputs, most)
                else:
                    inference = await served.by_hand(lambda: read_body(None, body, inputs, most))
                async with unless_gone(request):
                    answered = await served.infer(inference)
                if sum(_size(one.values) for one in answered.outputs) < _LARGE:
                    content, length = write_body(answered, inference)
                else:
                    content, length = await served.by_hand(lambda: write_body(answered, inference))
        headers = {}
        if length is not None:
            headers[HEADER] = str(length)
        accepted = request.headers.get("accept-encoding", "")
        if len(content) >= _WORTH and "gzip" in accepted:
            content = await served.by_hand(lambda: gzip.compress(content, 1))
            headers["content-encoding"] = "gzip"
        media_type = "application/json" if length is None else "application/octet-stream"
        return Response(content, headers=headers, media_type=media_type)

    async def live(self, request: Request) -> Response:
        """The process answers."""
        return as_json({"live": True})

    async def ready(self, request: Request) -> Response:
        """All models answer, and the server does not end."""
        ready = self._repository.ready
        return as_json({"ready": ready}, 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        """One model answers."""
        name, version = _model(request)
        ready = self._repository.is_ready(name, version)
        return as_json({"name": name, "ready": ready}, 200 if ready else 503)

    async def server(self, request: Request) -> Response:
        """The server's metadata."""
        return as_json(described.server())

    async def metadata(self, request: Request) -> Response:
        """A model's metadata."""
        return as_json(described.model(self._repository.get(*_model(request))))

    async def config(self, request: Request) -> Response:
        """A model's configuration."""
        return as_json(described.config(self._repository.get(*_model(request))))

    async def statistics(self, request: Request) -> Response:
        """Of one model, or of all."""
        if "name" not in request.path_params:
            return as_json(self._repository.statistics())
        return as_json(self._repository.statistics(*_model(request)))

    async def index(self, request: Request) -> Response:
        """All models and their states."""
        async with self._bounds.read(request) as body:
            wanted = read_json(body).get("ready", False) if body else False
        if not isinstance(wanted, bool):
            raise invalid("ready is neither true nor false")
        rows = self._repository.index()
        return as_json([row for row in rows if not wanted or row["state"] == READY])

    async def load(self, request: Request) -> Response:
        """Load a bundle anew from its folder."""
        await self._without_files(request)
        name, _ = _model(request)
        try:
            await self._repository.load(name)
        except RefusedError:
            raise
        except DlkitError:  # its message names files of the server, whose log has it
            raise invalid(
                f"the bundle of {name} cannot be loaded; the server's log says why"
            ) from None
        return Response(b"", 200)

    async def unload(self, request: Request) -> Response:
        """Let a bundle go."""
        async with self._bounds.read(request):
            await self._repository.unload(_model(request)[0])
        return Response(b"", 200)

    async def _without_files(self, request: Request) -> None:
        async with self._bounds.read(request) as body:
            parameters = read_json(body).get("parameters", {}) if body else {}
        if parameters:
            raise invalid("a model is loaded as it was given to the server, without parameters")


def _model(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params.get("version", "")


def _size(values: Any) -> int:
    return sum(map(len, values)) if isinstance(values, list) else values.nbytes
