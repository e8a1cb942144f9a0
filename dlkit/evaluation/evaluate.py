"""Evaluate bundles: load them, ask their task's evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlkit.atomic import check_writable
from dlkit.bundle import Bundle
from dlkit.errors import UsageError
from dlkit.evaluation.report import Evaluation, Report, Request, ShowDone, no_show
from dlkit.evaluation.task_metrics import TASK_METRICS
from dlkit.plugins import load_attribute
from dlkit.runtime.model import load
from dlkit.tasks import TASKS, Model, Task


def evaluation_of(task: Task) -> Evaluation:
    """How bundles of a task are evaluated; by its held-out metrics where it has nothing better.

    Raises:
        UsageError: what the task names is no evaluation.
    """
    if task.evaluation is None:
        return TASK_METRICS
    found = load_attribute(f"{task.evaluation}:EVALUATION")
    if not isinstance(found, Evaluation):
        raise UsageError(f"{task.evaluation}:EVALUATION is {type(found).__name__}, no Evaluation")
    return found


def evaluate_bundles(
    bundles: Sequence[str | Path | Bundle],
    data: str | None = None,
    count: int | None = None,
    seed: int | None = None,
    slow: int = 10,
    out: Path | None = None,
    backend: str = "auto",
    device: str = "auto",
    show: ShowDone = no_show,
    loaded: Callable[[str, Model[Any, Any, Any]], None] = lambda *_: None,
) -> Report:
    """Measure bundles of one task beside each other, as they are deployed.

    Args:
        bundles: their folders, or names of shipped ones.
        data, count, seed, slow, out, show: see ``Request``.
        backend, device: as ``dlkit.load`` takes them.
        loaded: called with each model and the name of its row.

    Raises:
        BundleError: missing, damaged, of different tasks, or not to be evaluated.
        UsageError, InputError: the data cannot be used.
        BackendError: nothing here can run one.
    """
    first = bundles[0] if isinstance(bundles[0], Bundle) else Bundle.open(bundles[0])
    opened = [first]
    for other in bundles[1:]:
        path = other.path if isinstance(other, Bundle) else other
        opened.append(Bundle.open(path, first.spec.task))
    evaluation = evaluation_of(TASKS.load(first.spec.task))
    if out is not None:
        check_writable(out)
    models: dict[str, Model[Any, Any, Any]] = {}
    with ExitStack() as stack:
        for one in opened:
            name = f"{one.spec.name} ({one.spec.precision})"
            same = sum(other == name or other.startswith(f"{name} #") for other in models)
            name = f"{name} #{same + 1}" if same else name
            models[name] = stack.enter_context(load(one, backend=backend, device=device))
            loaded(name, models[name])
        report = evaluation.evaluate(models, Request(data, count, seed, slow, out, show))
    return replace(report, models={name: _about(model) for name, model in models.items()})


def _about(model: Model[Any, Any, Any]) -> dict[str, str]:
    session = model.opened.session
    return {
        "bundle": str(model.bundle.path),
        "onnx_sha256": model.bundle.sha256,
        "backend": session.backend,
        "device": session.device,
        "file_sha256": session.sha256,
    }
