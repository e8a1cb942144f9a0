"""The service's methods."""

from __future__ import annotations

from typing import Any

from dlkit.errors import DlkitError
from dlkit.serving import described
from dlkit.serving.bounds import Bounds
from dlkit.serving.refused import RefusedError, invalid
from dlkit.serving.repository import READY, Repository
from dlkit.serving.rpc.messages import message
from dlkit.serving.rpc.tensors import fill_answer, read_request

_LARGE = 1 << 18  # bytes from which reading a message would keep the event loop


class Service:
    """One coroutine a method, by its name: a request's message in, the answer's out."""

    def __init__(self, repository: Repository, bounds: Bounds) -> None:
        self._repository, self._bounds = repository, bounds

    async def ServerLive(self, request: Any, answer: Any) -> None:  # noqa: N802
        """The process answers."""
        answer.live = True

    async def ServerReady(self, request: Any, answer: Any) -> None:  # noqa: N802
        """All models answer."""
        answer.ready = self._repository.ready

    async def ModelReady(self, request: Any, answer: Any) -> None:  # noqa: N802
        """One model answers."""
        answer.ready = self._repository.is_ready(request.name, request.version)

    async def ServerMetadata(self, request: Any, answer: Any) -> None:  # noqa: N802
        """The server's metadata."""
        told = described.server()
        answer.name, answer.version = told["name"], told["version"]
        answer.extensions.extend(told["extensions"])

    async def ModelMetadata(self, request: Any, answer: Any) -> None:  # noqa: N802
        """A model's metadata."""
        told = described.model(self._repository.get(request.name, request.version))
        answer.name, answer.platform = told["name"], told["platform"]
        answer.versions.extend(told["versions"])
        for kind in ("inputs", "outputs"):
            for one in told[kind]:
                getattr(answer, kind).add(**one)
        for name, value in told["properties"].items():
            answer.properties[name] = value

    async def ModelInfer(self, request: Any, answer: Any) -> None:  # noqa: N802
        """Run a model."""
        with self._repository.use(request.model_name, request.model_version) as served:
            most = self._bounds.tensors
            if request.ByteSize() < _LARGE or request.raw_input_contents:
                inference = read_request(request, most)
            else:
                inference = await served.by_hand(lambda: read_request(request, most))
            fill_answer(answer, await served.infer(inference), inference)

    async def ModelConfig(self, request: Any, answer: Any) -> None:  # noqa: N802
        """A model's configuration."""
        told = described.config(self._repository.get(request.name, request.version))
        found = answer.config
        found.name, found.platform, found.backend = told["name"], told["platform"], told["backend"]
        found.max_batch_size = told["max_batch_size"]
        types = message("ModelInput").DESCRIPTOR.fields_by_name["data_type"].enum_type
        for kind in ("input", "output"):
            for one in told[kind]:
                number = types.values_by_name[one["data_type"]].number
                getattr(found, kind).add(name=one["name"], data_type=number, dims=one["dims"])
        batching = told["dynamic_batching"]
        found.dynamic_batching.preferred_batch_size.extend(batching["preferred_batch_size"])
        found.dynamic_batching.max_queue_delay_microseconds = batching[
            "max_queue_delay_microseconds"
        ]

    async def ModelStatistics(self, request: Any, answer: Any) -> None:  # noqa: N802
        """Of one model, or of all."""
        told = self._repository.statistics(request.name, request.version)
        for one in told["model_stats"]:
            answer.model_stats.add(**one)

    async def RepositoryIndex(self, request: Any, answer: Any) -> None:  # noqa: N802
        """All models and their states."""
        for row in self._repository.index():
            if not request.ready or row["state"] == READY:
                answer.models.add(**row)

    async def RepositoryModelLoad(self, request: Any, answer: Any) -> None:  # noqa: N802
        """Load a bundle anew from its folder."""
        if request.parameters:
            raise invalid("a model is loaded as it was given to the server, without parameters")
        name = request.model_name
        try:
            await self._repository.load(name)
        except RefusedError:
            raise
        except DlkitError:  # its message names files of the server, whose log has it
            raise invalid(f"the bundle of {name} cannot be loaded; see the server's log") from None

    async def RepositoryModelUnload(self, request: Any, answer: Any) -> None:  # noqa: N802
        """Let a bundle go."""
        await self._repository.unload(request.model_name)
