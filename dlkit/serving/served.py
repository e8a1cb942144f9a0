"""Served: a bundle that answers requests, its rows joined with those of others."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import BundleError, DlkitError, InputError
from dlkit.runtime.model import task_of
from dlkit.runtime.session import open_session
from dlkit.serving.batcher import Arrays, Batcher, Graph, GraphError, Limits
from dlkit.serving.datatypes import BYTES, datatype_of
from dlkit.serving.encoded import Encoded
from dlkit.serving.independent import rows_are_independent
from dlkit.serving.messages import Answered, Asked, Inference, Tensor, shown
from dlkit.serving.refused import RefusedError, invalid
from dlkit.serving.statistics import Statistics
from dlkit.tasks import Model, Reply, Session, Task
from dlkit.tasks.tensors import check_arrays

if TYPE_CHECKING:
    from dlkit.runtime.folders.tally import Tally

VERSION = "1"
CERTIFIED = "certified"
_JOINED = 32  # rows of models whose task does not say how many, once they are known to be apart
_QUEUED = 16  # batches that may wait, where nobody says otherwise
_LEAST_QUEUE = 256
T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """What is asked for when a bundle is served; None: what suits it.

    Attributes:
        bundle: a folder, or a shipped one's name.
        backend, device: as ``dlkit.load`` has them.
        delay: seconds.
    """

    bundle: str
    backend: str = "auto"
    device: str = "auto"
    batch: int | None = None
    delay: float | None = None
    queue: int | None = None
    workers: int | None = None
    threads: int | None = None
    require_certificate: bool = False
    accept_random: bool = False


@dataclass
class Loaded:
    """A bundle and its session, before anything is asked of it; made in any thread."""

    bundle: Bundle
    task: Task
    session: Session
    passed_over: dict[str, str]
    limits: Limits
    joins: bool
    verdict: str


class Served:
    """A bundle that answers requests. It belongs to the event loop that it was made in.

    Attributes:
        name: as clients ask for it.
        loaded: the bundle, its session, and how rows are joined.
        model: the task's own, whose samples run in the same batches.
        statistics: of all that it answered.
    """

    def __init__(self, name: str, loaded: Loaded, hands: Executor, statistics: Statistics) -> None:
        self.name, self.loaded, self.statistics = name, loaded, statistics
        self.spec = loaded.bundle.spec
        self.loop, self._hands = asyncio.get_running_loop(), hands
        self.model: Model[Any, Any, Any] = loaded.task.open(loaded.bundle, Queued(self))
        self.batcher = Batcher(
            graph_of(self.model, loaded.session),
            loaded.limits,
            loaded.joins,
            statistics.watch,
            name,
        )
        self.outputs = {one.name: one for one in self.spec.outputs}
        self.datatypes = {one.name: datatype_of(one.dtype) for one in self.spec.inputs}
        self._encoded = Encoded.of(loaded.task, self.model)
        self.loaded_at = datetime.datetime.now(datetime.UTC)
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    async def infer(self, inference: Inference) -> Answered:
        """Answer a request.

        Raises:
            RefusedError: it does not fit the model, cannot run now, or the model failed.
        """
        began = time.monotonic()
        deadline = None if inference.timeout is None else began + inference.timeout
        wanted = self._wanted(inference.outputs)
        try:
            if self._encoded is not None and inference.inputs[0].datatype == BYTES:
                outputs = await self._of_images(inference, deadline)
            else:
                feeds = self._feeds(inference.inputs)
                arrays = await self.batcher.answer(feeds, self._rows(feeds), deadline)
                outputs = {name: Tensor.of(name, array) for name, array in arrays.items()}
            found = [self._chosen(outputs[one.name], one) for one in wanted]
        except RefusedError:
            self.statistics.fail.add(time.monotonic() - began)
            raise
        self.statistics.done(time.monotonic() - began)
        return Answered(self.name, VERSION, found)

    async def reply(self, data: bytes, options: Mapping[str, str]) -> Reply:
        """Answer one file, as the model's door has it.

        Raises:
            DlkitError: the file or an option cannot be taken, or there is no answer now.
        """
        began = time.monotonic()
        try:
            found = await self.by_hand(lambda: self.model.reply(data, options))
        except DlkitError:
            self.statistics.fail.add(time.monotonic() - began)
            raise
        self.statistics.done(time.monotonic() - began)
        return found

    @property
    def command(self) -> str:
        """Of the task: where its door is."""
        return self.loaded.task.command

    @property
    def takes_images(self) -> bool:
        """Whether encoded images may come in place of arrays."""
        return self._encoded is not None

    @contextmanager
    def used(self) -> Iterator[Served]:
        """While somebody is in here, it is not closed."""
        self._users += 1
        self._unused.clear()
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def by_hand(self, work: Callable[[], T]) -> T:
        """Run something that takes its time, such as decoding, beside the event loop."""
        return await self.loop.run_in_executor(self._hands, work)

    async def close(self) -> None:
        """Let running requests end, then let go of everything."""
        await self._unused.wait()
        await self.batcher.close()
        self.loaded.session.close()

    def _wanted(self, asked: list[Asked]) -> list[Asked]:
        for one in asked:
            if one.name not in self.outputs:
                there = ", ".join(self.outputs)
                raise invalid(f"there is no output {shown(one.name)}, but {there}")
        return asked or [Asked(name) for name in self.outputs]

    def _feeds(self, inputs: list[Tensor]) -> Arrays:
        """The arrays of a request, in the graph's order."""
        given = {one.name: one for one in inputs}
        for name, tensor in given.items():
            if name not in self.datatypes:
                there = ", ".join(self.datatypes)
                raise invalid(f"there is no input {shown(name)}, but {there}")
            if tensor.datatype != self.datatypes[name]:
                also = f", or {BYTES} with encoded images" if self._encoded is not None else ""
                raise invalid(
                    f"input {name} is {tensor.datatype}, expected {self.datatypes[name]}{also}"
                )
        feeds = {}
        for one in self.spec.inputs:
            if one.name not in given:
                raise invalid(f"the input {one.name} is missing")
            values = given[one.name].values
            assert isinstance(values, np.ndarray)  # no model takes BYTES as they are
            feeds[one.name] = values
        try:
            check_arrays(self.spec, feeds)
        except InputError as error:
            raise invalid(error.what) from None
        self._check_sizes(feeds)
        return feeds

    def _check_sizes(self, feeds: Arrays) -> None:
        """What a graph of images says only by failing."""
        multiple = self.spec.multiple_of
        for one in self.spec.inputs:
            shape = feeds[one.name].shape
            if 0 in shape:
                raise invalid(f"input {one.name} has the shape {shape}: nothing is in it")
            for axis, size in zip(one.shape[1:3], shape[1:3], strict=True):
                if self.loaded.task.images and isinstance(axis, str) and size % multiple:
                    raise invalid(
                        f"input {one.name} has the shape {shape}: its {axis} must be a multiple of "
                        f"{multiple}",
                        "Send BYTES with an encoded image: it is padded and cropped",
                    )

    def _rows(self, feeds: Arrays) -> int:
        return len(next(iter(feeds.values()))) if self.loaded.joins else 1

    async def _of_images(self, inference: Inference, deadline: float | None) -> dict[str, Tensor]:
        """Outputs for encoded images: each goes the task's own way."""
        encoded = self._encoded
        assert encoded is not None
        if [one.name for one in inference.inputs] != [self.spec.input.name]:
            raise invalid(f"the one input is {self.spec.input.name}")
        (tensor,) = inference.inputs
        elements = tensor.values
        assert isinstance(elements, list)
        if not elements or len(elements) != tensor.shape[0]:
            raise invalid(
                f"input {tensor.name} has the shape {tensor.shape}, expected (n,) encoded images"
            )
        if len(elements) > self.loaded.limits.queue:
            raise invalid(f"there are {len(elements)} images, at most {self.loaded.limits.queue}")
        made = await self.by_hand(lambda: [encoded.prepare(one) for one in elements])
        name = self.spec.input.name
        rows = await asyncio.gather(
            *(self.batcher.answer({name: sample[None]}, 1, deadline) for sample, _ in made)
        )
        notes = [note for _, note in made]
        return await self.by_hand(lambda: encoded.outputs(rows, notes))

    def _chosen(self, tensor: Tensor, asked: Asked) -> Tensor:
        """An output as it is, or the most probable classes of each row of it."""
        values, labels = tensor.values, self.spec.labels
        if not asked.classes:
            return tensor
        if isinstance(values, list) or values.ndim != 2 or values.dtype.kind != "f":
            raise invalid(f"output {tensor.name} has no classes", "Leave classification out")
        best = np.argsort(-values, axis=1, kind="stable")[:, : asked.classes]
        named = len(labels) == values.shape[1]
        found = [
            f"{values[row, place]:f}:{place}{f':{labels[place]}' if named else ''}".encode()
            for row, places in enumerate(best)
            for place in places.tolist()
        ]
        return Tensor(tensor.name, BYTES, best.shape, found)


class Queued:
    """What runs a model's samples, for ``Model``: through the queue, from threads beside the loop;
    see ``dlkit.tasks.Answers``."""

    def __init__(self, served: Served) -> None:
        self._served = served

    @property
    def session(self) -> Session:
        """The session."""
        return self._served.loaded.session

    @property
    def passed_over(self) -> dict[str, str]:
        """Why ``auto`` did not take what it would have preferred."""
        return self._served.loaded.passed_over

    def answer(
        self, model: Model[Any, Any, Any], prepared: Iterable[tuple[Any, Any]], batch: int
    ) -> list[Any]:
        """Answers in order, or the ``DlkitError`` in place of one; not in the loop's own thread."""
        served = self._served
        items = list(prepared)
        future = asyncio.run_coroutine_threadsafe(self._answer(model, items), served.loop)
        return future.result()

    def run_folder(self, *_: Any, **__: Any) -> Tally:
        """A server runs no folders."""
        raise NotImplementedError

    async def _answer(
        self, model: Model[Any, Any, Any], items: Sequence[tuple[Any, Any]]
    ) -> list[Any]:
        """Samples of one shape in one call each."""
        name = self._served.spec.input.name
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, (sample, _) in enumerate(items):
            groups.setdefault(sample.shape, []).append(place)

        async def run(places: list[int]) -> NDArray[Any] | DlkitError:
            stacked = np.stack([items[place][0] for place in places])
            try:
                found = await self._served.batcher.answer({name: stacked}, len(places))
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


def graph_of(model: Model[Any, Any, Any], session: Session) -> Graph:
    """The graph as the batcher runs it; a task may run large samples in parts."""
    spec = model.bundle.spec
    if not model.stacks:

        def run(feeds: Arrays) -> Arrays:
            try:
                return session.run(feeds)
            except Exception as error:  # each backend has exceptions of its own
                raise GraphError(str(error).strip().partition("\n")[0]) from error

        return run
    output = spec.output.name
    watched = Guarded(session)

    def infer(feeds: Arrays) -> Arrays:
        (batch,) = feeds.values()
        return {output: model.infer(watched, batch)}

    return infer


class Guarded(Session):
    """A session whose own errors are told from those of the code around it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.backend, self.device = session.backend, session.device
        self.sha256, self.arithmetic = session.sha256, session.arithmetic

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        """Run one batch."""
        try:
            return self._session.run(feeds)
        except Exception as error:
            raise GraphError(str(error).strip().partition("\n")[0]) from error

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch of a graph with one input and one output."""
        try:
            return self._session(batch)
        except Exception as error:
            raise GraphError(str(error).strip().partition("\n")[0]) from error


def load(wanted: Wanted) -> Loaded:
    """Open a bundle and its session.

    Raises:
        DlkitError: what cannot be served, and why.
    """
    bundle = Bundle.open(wanted.bundle)
    task = task_of(bundle)
    task.check(bundle.spec)
    for one in (*bundle.spec.inputs, *bundle.spec.outputs):
        datatype_of(one.dtype)
    workers = wanted.workers or 1
    chosen = open_session(bundle, wanted.backend, wanted.device, wanted.threads, workers)
    session = chosen.session
    verdict = _verdict(bundle, session, wanted.accept_random)
    if wanted.require_certificate and verdict != CERTIFIED:
        session.close()
        raise BundleError(
            f"{bundle.path} cannot be served with --require-certificate: {verdict}",
            f"Measure it: dlkit verify {bundle.path}",
        )
    joins = task.model.stacks or rows_are_independent(bundle.spec, session)
    default = task.batch["cuda" if session.device == "cuda" else "cpu"]
    batch = wanted.batch or (default if task.model.stacks else _JOINED)
    limits = Limits(
        batch=batch if joins else 1,
        delay=wanted.delay or 0.0,
        queue=wanted.queue or max(_LEAST_QUEUE, _QUEUED * batch),
        workers=workers,
    )
    return Loaded(bundle, task, session, chosen.passed_over, limits, joins, verdict)


def _verdict(bundle: Bundle, session: Session, accept_random: bool) -> str:
    """``certified``, or why it is not, without its path."""
    other = session.backend if session.arithmetic else None
    found = bundle.certificate
    if found is None:
        return "no certificate"
    if bundle.uncertified(session.sha256, other) is not None:
        return "certified for another file or backend"
    return "certified on random inputs" if found.inputs.random and not accept_random else CERTIFIED
