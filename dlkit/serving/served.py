"""Served: a bundle that answers requests, its rows joined with those of others."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from dlkit.errors import DlkitError, InputError
from dlkit.serving.batcher import Batcher
from dlkit.serving.calls import Arrays
from dlkit.serving.datatypes import BYTES, datatype_of
from dlkit.serving.encoded import Encoded
from dlkit.serving.graphs import graph_of
from dlkit.serving.loading import Loaded
from dlkit.serving.messages import Answered, Asked, Inference, Tensor, shown
from dlkit.serving.queued import Queued
from dlkit.serving.refused import RefusedError, invalid
from dlkit.serving.statistics import Statistics
from dlkit.tasks import Model, Reply
from dlkit.tasks._arrays import check_arrays

VERSION = "1"
T = TypeVar("T")


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
        queued = Queued(loaded.session, loaded.passed_over, loaded.beside)
        self.model: Model[Any, Any, Any] = loaded.task.open(loaded.bundle, queued)
        self.batcher = Batcher(
            graph_of(self.model, loaded.session),
            loaded.limits,
            loaded.joins,
            statistics.watch,
            name,
        )
        queued.batcher = self.batcher
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
        self.model.close()

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
