"""Load a bundle, ready to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from dlkit.bundle import Bundle
from dlkit.errors import BundleError, UsageError
from dlkit.plugins import MissingError
from dlkit.runtime.runner import Prepared, Runner
from dlkit.runtime.session import Chosen, open_session
from dlkit.tasks import TASKS, FolderOptions, Model, Session, Task

if TYPE_CHECKING:
    from dlkit.runtime.folders.tally import Tally
    from dlkit.tasks import denoise, detect, generate, recognize, tensors


@dataclass(frozen=True)
class Opened(Chosen):
    """A session that answers for a model; see ``dlkit.tasks.Answers``.

    Attributes:
        task: that the model serves.
        another: opens a session of another bundle in the same way.
    """

    task: Task
    another: Callable[[Bundle], Session] | None = None

    def answer(
        self, model: Model[Any, Any, Any], prepared: Iterable[Prepared], batch: int
    ) -> list[Any]:
        """Answers, or the ``DlkitError`` in place of one, for what ``prepare`` gave."""
        return Runner(model, self.session, batch).answer(prepared)

    def beside(self, bundle: Bundle) -> Session:
        """A session of another bundle, on the same backend and device.

        Raises:
            BackendError: it cannot run there.
        """
        return (self.another or _anywhere)(bundle)

    def run_folder(
        self,
        model: Model[Any, Any, Any],
        inputs: Sequence[Path | str],
        out: Path | str,
        **options: Unpack[FolderOptions],
    ) -> Tally:
        """A file for every file; see ``dlkit.runtime.folders.to_folder.run_folder``."""
        from dlkit.runtime.folders.to_folder import run_folder

        return run_folder(model, self.task, inputs, out, **options)


def _anywhere(bundle: Bundle) -> Session:
    return open_session(bundle).session


@overload
def load(
    bundle: Literal["digits"],
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    task: None = ...,
    callers: int = ...,
) -> recognize.Recognizer: ...
@overload
def load(
    bundle: Literal["mmwave"],
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    task: None = ...,
    callers: int = ...,
) -> denoise.Denoiser: ...
@overload
def load(
    bundle: Literal["objects"],
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    task: None = ...,
    callers: int = ...,
) -> detect.Detector: ...
@overload
def load(
    bundle: Literal["digit_maker"],
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    task: None = ...,
    callers: int = ...,
) -> generate.Generator: ...
@overload
def load(
    bundle: str | Path | Bundle,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    *,
    task: recognize.Name,
    callers: int = ...,
) -> recognize.Recognizer: ...
@overload
def load(
    bundle: str | Path | Bundle,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    *,
    task: denoise.Name,
    callers: int = ...,
) -> denoise.Denoiser: ...
@overload
def load(
    bundle: str | Path | Bundle,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    *,
    task: detect.Name,
    callers: int = ...,
) -> detect.Detector: ...
@overload
def load(
    bundle: str | Path | Bundle,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    *,
    task: generate.Name,
    callers: int = ...,
) -> generate.Generator: ...
@overload
def load(
    bundle: str | Path | Bundle,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    *,
    task: tensors.Name,
    callers: int = ...,
) -> tensors.TensorModel: ...
@overload
def load(
    bundle: str | Path | Bundle,
    backend: str = ...,
    device: str = ...,
    threads: int | None = ...,
    task: str | None = ...,
    callers: int = ...,
) -> Model[Any, Any, Any]: ...
def load(
    bundle: str | Path | Bundle,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    task: str | None = None,
    callers: int = 1,
) -> Model[Any, Any, Any]:
    """Load a bundle, ready to answer.

    Args:
        bundle: a bundle's folder, or the name of one that ships with dlkit
            (``digits``, ``mmwave``, ``objects``, ``digit_maker``, ...).
        backend: ``onnxruntime``, ``openvino``, ... or ``auto``.
        device: ``cpu``, ``cuda`` or ``auto``.
        threads: CPU threads of the backend; all that the process may use by default.
        task: the task that the bundle must serve; it also tells a type checker what comes back.
            ``tensors`` takes every bundle, as a graph from arrays to arrays.
        callers: threads that will call the session at once.

    Returns:
        by the bundle's task, a ``Recognizer`` (``.recognize(images)``, ``.read(image)``), a
        ``Denoiser`` (``.denoise(images)``), a ``Detector`` (``.detect(scans)``), a ``Generator``
        (``.generate(count)``), a ``TensorModel`` (``.run(arrays)``), or what a plug-in's task
        gives. Close it, or use it with
        ``with``.

    Raises:
        BundleError: missing, damaged or for another task.
        UsageError: the task's package is not installed, or fails; or two tasks have its name.
        BackendError: what was named cannot run here.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    serves = task_of(opened, task)
    serves.check(opened.spec)

    def another(bundle: Bundle) -> Session:
        return open_session(bundle, backend, device, threads, callers).session

    chosen = open_session(opened, backend, device, threads, callers)
    return serves.open(opened, Opened(chosen.session, chosen.passed_over, serves, another))


def task_of(bundle: Bundle, wanted: str | None = None) -> Task:
    """The task of a bundle, or the one that is wanted of it.

    Raises:
        BundleError: it is for another task.
        UsageError: the task's package is not installed, or fails; or two tasks have its name.
    """
    name = bundle.spec.task
    if wanted is not None and name != wanted:
        if (task := TASKS.load(wanted)).any_graph:
            return task
        raise BundleError(
            f"{bundle.path} is a bundle to {name}, not to {wanted}", f"Use: dlkit {name}"
        )
    try:
        return TASKS.load(name)
    except MissingError as error:
        raise UsageError(
            f"{bundle.path} is for the task '{name}', which is not installed here",
            f"Install its package, or run the graph on arrays: dlkit run {bundle.path} FILE.npz "
            "--task tensors",
        ) from error
