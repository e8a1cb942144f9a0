"""All bundles that are served: loaded, unloaded and swapped while requests run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from dlkit.errors import DlkitError
from dlkit.serving.loading import Loaded, Wanted, load
from dlkit.serving.metrics import Metrics
from dlkit.serving.refused import RefusedError, unknown
from dlkit.serving.served import VERSION, Served
from dlkit.serving.statistics import Statistics

_LOG = logging.getLogger(__name__)
READY, UNAVAILABLE, LOADING = "READY", "UNAVAILABLE", "LOADING"


class Repository:
    """The bundles of a server, by the names that clients use. It lives in one event loop.

    Attributes:
        wanted: what can be loaded; a request loads nothing else.
        hands: threads for what takes its time.
    """

    def __init__(self, wanted: Mapping[str, Wanted], hands: Executor, metrics: Metrics) -> None:
        self.wanted, self.hands, self._metrics = dict(wanted), hands, metrics
        self._served: dict[str, Served] = {}
        self._reasons: dict[str, str] = {}
        self._statistics = {name: Statistics(metrics.watch(name)) for name in wanted}
        self._locks = {name: asyncio.Lock() for name in wanted}
        self._closing: set[asyncio.Task[None]] = set()
        self.draining = False

    @property
    def ready(self) -> bool:
        """Every bundle that should answer does."""
        return not self.draining and all(
            name in self._served or self._reasons.get(name) == "unloaded" for name in self.wanted
        )

    def is_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers.

        Raises:
            RefusedError: there is no such model or version.
        """
        self._check(name, version)
        return not self.draining and name in self._served

    def names(self) -> list[str]:
        """Names of the models that answer, in the order in which they were given."""
        return [name for name in self.wanted if name in self._served]

    def get(self, name: str, version: str = "") -> Served:
        """A model, to be asked at once; see ``use`` for longer.

        Raises:
            RefusedError: there is none of that name or version, or it is not loaded.
        """
        self._check(name, version)
        if name not in self._served:
            raise RefusedError(503, f"the model {name} is not loaded", retry_after=5.0)
        return self._served[name]

    @contextmanager
    def use(self, name: str, version: str = "") -> Iterator[Served]:
        """A model that stays open meanwhile, whatever is loaded in its place.

        Raises:
            RefusedError: as ``get`` has it.
        """
        with self.get(name, version).used() as served:
            yield served

    async def load(self, name: str) -> None:
        """Load a bundle from its folder, also anew; the one before goes when it is no longer used.

        Raises:
            RefusedError: there is no such model.
            DlkitError: its bundle cannot be served; the one before goes on.
        """
        self._check(name, "")
        async with self._locks[name]:
            loop = asyncio.get_running_loop()
            if name not in self._served:
                self._reasons[name] = "loading"
            try:
                loaded = await loop.run_in_executor(self.hands, load, self.wanted[name])
            except DlkitError as error:
                if name not in self._served:
                    self._reasons[name] = "it cannot be loaded"
                _LOG.error("%s cannot be loaded: %s", name, error)
                raise
            self._put(name, loaded)

    def _put(self, name: str, loaded: Loaded) -> None:
        served = Served(name, loaded, self.hands, self._statistics[name])
        self._metrics.waits(name, lambda: served.batcher.waiting)
        before = self._served.get(name)
        self._served[name] = served
        self._reasons.pop(name, None)
        self._metrics.ready.labels(name).set(1)
        if before is not None:
            self._close(before)

    async def unload(self, name: str) -> None:
        """Let a bundle go, once its requests are answered.

        Raises:
            RefusedError: there is no such model.
        """
        self._check(name, "")
        async with self._locks[name]:
            before = self._served.pop(name, None)
            self._reasons[name] = "unloaded"
            self._metrics.ready.labels(name).set(0)
            if before is not None:
                self._close(before)

    async def load_all(self) -> None:
        """Load all anew that is not unloaded; one that cannot be keeps the bundle before."""
        for name in self.wanted:
            if self._reasons.get(name) != "unloaded":
                try:
                    await self.load(name)
                except DlkitError:
                    continue  # it was said

    async def close(self) -> None:
        """Let all go, once their requests are answered."""
        self.draining = True
        for name in list(self._served):
            self._close(self._served.pop(name))
        await asyncio.gather(*self._closing)

    def index(self) -> list[dict[str, str]]:
        """As the protocol's extension has it."""
        return [{"name": name, "version": VERSION, **self._state(name)} for name in self.wanted]

    def statistics(self, name: str = "", version: str = "") -> dict[str, Any]:
        """Of one model, or of all that answer."""
        if name:
            self._check(name, version)
        names = [name] if name else self.names()
        return {"model_stats": [self._statistics[one].to_json(one, VERSION) for one in names]}

    def _state(self, name: str) -> dict[str, str]:
        if name in self._served:
            return {"state": READY, "reason": ""}
        reason = self._reasons.get(name, "")
        return {"state": LOADING if reason == "loading" else UNAVAILABLE, "reason": reason}

    def _check(self, name: str, version: str) -> None:
        if name not in self.wanted:
            raise unknown("there is no such model")
        if version not in ("", VERSION):
            raise unknown(f"the model {name} has the version {VERSION} alone")

    def _close(self, served: Served) -> None:
        task = asyncio.get_running_loop().create_task(served.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
