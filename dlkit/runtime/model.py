"""Model: a session plus what its task does before and after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.errors import DlkitError
from dlkit.plugins import Plugins
from dlkit.runtime.pipeline import Result, Runner
from dlkit.runtime.session import Opened, open_session

TASKS = Plugins("dlkit.runtime.tasks", "task")

Note = TypeVar("Note")
Answer = TypeVar("Answer")


class Model(ABC, Generic[Note, Answer]):
    """A loaded bundle that answers for images. One subclass a task, in ``tasks/``.

    Attributes:
        bundle: what was loaded.
        opened: the session, and why it was chosen.
    """

    def __init__(self, bundle: Bundle, opened: Opened) -> None:
        self.bundle = bundle
        self.opened = opened

    @abstractmethod
    def prepare(self, image: images.Image) -> tuple[images.Pixels, Note]:
        """An image as the session takes it, (H, W) uint8, and what ``finish`` must know of it."""

    def infer(
        self, call: Callable[[NDArray[Any]], NDArray[Any]], batch: NDArray[Any]
    ) -> NDArray[Any]:
        """The session's output for a batch, by ``call``."""
        return call(batch)

    @abstractmethod
    def finish(self, output: NDArray[Any], note: Note) -> Answer:
        """The answer for one image from its row of the session's output."""

    def finish_all(
        self, outputs: NDArray[Any], notes: Sequence[Note]
    ) -> Sequence[Answer | DlkitError]:
        """``finish`` for each row; the error in place of an answer that cannot be."""
        answers: list[Answer | DlkitError] = []
        for output, note in zip(outputs, notes, strict=True):
            try:
                answers.append(self.finish(output, note))
            except DlkitError as error:
                answers.append(error)
        return answers

    def answers(self, batch_of: Iterable[images.Image], batch: int) -> list[Answer]:
        """Answer for images in memory, in their order.

        Raises:
            InputError: something is no image.
        """
        loaded = []
        for index, image in enumerate(batch_of):
            images.check(image)
            loaded.append((Result(index), *self.prepare(image)))
        Runner(self, self.opened.session, batch).answer(loaded)
        for result, _, _ in loaded:
            if result.error is not None:
                raise result.error
        return [result.answer for result, _, _ in loaded]


def load(
    bundle: str | Bundle | Any,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    task: str | None = None,
    callers: int = 1,
) -> Any:
    """Load a bundle, ready to answer.

    Args:
        bundle: a bundle's folder, or the name of one that ships with dlkit
            (``digits``, ``mmwave``).
        backend: ``onnxruntime``, ``openvino``, ... or ``auto``.
        device: ``cpu``, ``cuda`` or ``auto``.
        threads: CPU threads of the backend; all that the process may use by default.
        task: the task that the bundle must serve, if that matters.
        callers: threads that will call the session at once.

    Returns:
        a ``Denoiser`` (with ``.denoise(images)``) or a ``Recognizer`` (with
        ``.recognize(images)``), by the bundle's task.

    Raises:
        BundleError: missing, damaged or for another task.
        BackendError: what was named cannot run here.
    """
    opened_bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle, task)
    model = TASKS.load(opened_bundle.spec.task).MODEL
    return model(opened_bundle, open_session(opened_bundle, backend, device, threads, callers))
