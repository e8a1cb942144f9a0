"""What runs a model's samples for the task: through the queue, from threads beside the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import DlkitError
from dlkit.serving.batcher import Batcher
from dlkit.serving.refused import RefusedError
from dlkit.tasks import Model, Session

if TYPE_CHECKING:
    from dlkit.runtime.folders.tally import Tally


class Queued:
    """See ``dlkit.tasks.Answers``.

    Attributes:
        session: the model's.
        passed_over: why ``auto`` did not take what it would have preferred.
        beside: opens a session of another bundle; it is called outside of the queue.
        batcher: set once there is one.
    """

    batcher: Batcher

    def __init__(
        self, session: Session, passed_over: dict[str, str], beside: Callable[[Bundle], Session]
    ) -> None:
        self.session, self.passed_over, self.beside = session, passed_over, beside
        self._loop = asyncio.get_running_loop()

    def answer(
        self, model: Model[Any, Any, Any], prepared: Iterable[tuple[Any, Any]], batch: int
    ) -> list[Any]:
        """Answers in order, or the ``DlkitError`` in place of one; not in the loop's own thread."""
        items = list(prepared)
        future = asyncio.run_coroutine_threadsafe(self._answer(model, items), self._loop)
        return future.result()

    def run_folder(self, *_: Any, **__: Any) -> Tally:
        """A server runs no folders."""
        raise NotImplementedError

    async def _answer(
        self, model: Model[Any, Any, Any], items: Sequence[tuple[Any, Any]]
    ) -> list[Any]:
        """Samples of one shape in one call each."""
        name = model.bundle.spec.input.name
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, (sample, _) in enumerate(items):
            groups.setdefault(sample.shape, []).append(place)

        async def run(places: list[int]) -> NDArray[Any] | DlkitError:
            stacked = np.stack([items[place][0] for place in places])
            try:
                found = await self.batcher.answer({name: stacked}, len(places))
            except RefusedError as error:
                if error.status == 503:
                    raise
                return error
            return next(iter(found.values()))

        answers: list[Any] = [None] * len(items)
        outputs = await asyncio.gather(*map(run, groups.values()))
        for places, output in zip(groups.values(), outputs, strict=True):
            if isinstance(output, DlkitError):
                finished: Sequence[Any] = [output] * len(places)
            else:
                finished = model.finish_all(output, [items[place][1] for place in places])
            for place, answer in zip(places, finished, strict=True):
                answers[place] = answer
        return answers
