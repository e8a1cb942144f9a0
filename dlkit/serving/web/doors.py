"""Simple doors: a file in, a file out, for each task that has one; and what people look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dlkit.serving.bounds import Bounds
from dlkit.serving.described import properties
from dlkit.serving.metrics import CONTENT_TYPE, Metrics
from dlkit.serving.refused import RefusedError, invalid, unknown
from dlkit.serving.repository import Repository
from dlkit.serving.served import Served
from dlkit.serving.web.gone import unless_gone
from dlkit.serving.web.inference import as_json
from dlkit.serving.web.openapi import description

_PAGE = Path(__file__).parent.parent / "page"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_NAMES = {"/": "index.html", "/docs": "docs.html"}
_FILES = {
    **_NAMES,
    **{f"/{one.name}": one.name for one in _PAGE.iterdir() if one.suffix not in (".html", "")},
}
PUBLIC = tuple(_FILES)
_ONLY_READ = {*_FILES, "/v2", "/models", "/metrics", "/openapi.json"}


class DoorRoutes:
    """Routes beside the protocol."""

    def __init__(self, repository: Repository, bounds: Bounds, metrics: Metrics) -> None:
        self._repository, self._bounds, self._metrics = repository, bounds, metrics
        self._files = {
            path: ((_PAGE / name).read_bytes(), _KINDS[Path(name).suffix])
            for path, name in _FILES.items()
        }

    def routes(self) -> list[Route]:
        """All of them; a door is below its task's command."""
        return [
            *(Route(path, self.file, methods=["GET"]) for path in _FILES),
            Route("/models", self.models, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/{command}", self.reply, methods=["GET", "POST"]),
        ]

    async def file(self, request: Request) -> Response:
        """A file of the page."""
        content, kind = self._files[request.url.path]
        return Response(content, media_type=kind)

    async def models(self, request: Request) -> Response:
        """What the page shows of each model."""
        return as_json([self._row(row) for row in self._repository.index()])

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        """The description of all routes."""
        return as_json(description(self._doors()))

    async def reply(self, request: Request) -> Response:
        """A file in, a file out."""
        command = request.path_params["command"]
        names = [name for name, served in self._doors().items() if served.command == command]
        if not names and f"/{command}" not in _ONLY_READ:
            raise unknown("there is no such route")
        if not names or request.method != "POST":
            raise RefusedError(405, "the route does not take this method")
        options = _options(request)
        name = options.pop("model", "") or self._default(command, names)
        if name not in names:
            raise unknown(f"there is no such model behind /{command}")
        request.scope["about"]["model"] = name
        async with self._bounds.read(request) as body:
            with self._repository.use(name) as served:
                if served.model.door is not None and served.model.door.takes and not body:
                    raise invalid(
                        "the body is empty", "Send an image as it is: curl --data-binary @FILE"
                    )
                async with unless_gone(request):
                    found = await served.reply(bytes(body), options)
        return Response(found.content, media_type=found.media_type, headers={"dlkit-model": name})

    def _default(self, command: str, names: list[str]) -> str:
        """Who answers where none is named: the task's default bundle, or the only one."""
        if len(names) == 1:
            return names[0]
        default = self._repository.get(names[0]).loaded.task.default_bundle
        if default not in names:
            raise invalid(
                f"{len(names)} models answer /{command}: {', '.join(names)}",
                f"Say which: /{command}?model={names[0]}",
            )
        return default

    def _doors(self) -> dict[str, Served]:
        served = {name: self._repository.get(name) for name in self._repository.names()}
        return {name: one for name, one in served.items() if one.model.door is not None}

    def _row(self, row: dict[str, str]) -> dict[str, Any]:
        if row["name"] not in self._repository.names():
            return row
        served = self._repository.get(row["name"])
        statistics, door = served.statistics, served.model.door
        recipe = served.loaded.bundle.origin.get("recipe", {})
        return {
            **row,
            "about": str(recipe.get("about", "")) if isinstance(recipe, dict) else "",
            "properties": properties(served),
            "labels": list(served.spec.labels),
            "input": served.spec.inputs[0].name,
            "output": served.spec.outputs[0].name,
            "takes_images": served.takes_images,
            "door": None
            if door is None
            else {"path": f"/{served.command}", "takes": door.takes, "gives": door.gives},
            "requests": statistics.success.count,
            "rows": statistics.rows,
            "batches": statistics.batches,
            "p50": statistics.percentile(0.5),
            "p99": statistics.percentile(0.99),
        }


def _options(request: Request) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in options:
            raise invalid(f"the option {name[:50]!r} is given twice")
        options[name] = value
    return options
