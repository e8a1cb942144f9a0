"""What a bundle is measured on: held-out data of its task, or arrays that somebody gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import InputError, UsageError, VerifyError
from dlkit.tasks import TASKS, Feeds, HeldOut, Task
from dlkit.tasks._calls import calls
from dlkit.tasks._data import MARK

# A dataset's name or a folder; an array of the only input; arrays by the names of the inputs; or
# several of those, a call each.
Data: TypeAlias = "str | Path | NDArray[Any] | Feeds | Sequence[Feeds]"

_SEEN = 0.03  # of the inputs may be like some of the calibration: data have doubles


def held_out(bundle: Bundle, data: Data | None = None, count: int | None = None) -> HeldOut:
    """Inputs that no training saw.

    Args:
        data: as ``Task.held_out`` takes it; or arrays, dtypes and shapes as the bundle's spec has
            them, first axis the samples.
        count: most inputs.

    Raises:
        InputError: the data cannot be read, or the arrays do not fit.
        UsageError: the task has no data of its own, and none was named.
    """
    task = TASKS.load(bundle.spec.task)
    if data is None or isinstance(data, str | Path):
        name = None if data is None else str(data)
        return task.held_out(bundle.spec, bundle.origin, name, count)
    if isinstance(data, np.ndarray):
        data = {bundle.spec.input.name: data}
    given = [data] if isinstance(data, Mapping) else list(data)
    batches = calls(bundle.spec, given, count, task.batch["cpu"])
    if not batches:
        raise InputError("there is no array to compare on", "Give one sample or more")
    return HeldOut("arrays", batches, 0, lambda _: {})


def enough(task: Task, data: HeldOut) -> None:
    """Refuse too few inputs for a certificate, or the same ones again and again.

    Raises:
        UsageError: says how many are needed.
    """
    if data.count < task.least_inputs:
        raise UsageError(
            f"a certificate for the task '{task.name}' needs {task.least_inputs} inputs or more, "
            f"{data.name} gives {data.count}",
            data.more
            or "Name data that has as many with --data, and leave --count away or as large",
        )
    marks = data.samples()
    different = data.count - (len(marks) - len(set(marks)))
    if not data.random and _of_quantities(data) and different < task.least_inputs:
        raise UsageError(
            f"a certificate for the task '{task.name}' needs {task.least_inputs} different inputs "
            f"or more, {data.name} gives {different} different ones, {data.count} in all",
            "Name data with more different ones with --data",
        )


def _of_quantities(data: HeldOut) -> bool:
    """Whether inputs are numbers or pixels: of indices and flags alone there may not be as many
    different ones."""
    kinds = {array.dtype for array in data.batches[0].values()}
    return any(kind.kind in "fV" or kind == np.uint8 for kind in kinds)


def unseen(bundle: Bundle, data: HeldOut) -> None:
    """Refuse inputs that int8 was calibrated on, or whose loss decided what stays float32.

    Raises:
        VerifyError: more than a few of them are such.
    """
    report = bundle.origin.get("int8", {})
    marks = "".join(
        report.get(part, {}).get("samples", "") for part in ("calibration", "validation")
    )
    known = {marks[at : at + MARK] for at in range(0, len(marks), MARK)}
    given = data.samples()
    seen = sum(mark in known for mark in given)
    if seen > _SEEN * len(given):
        raise VerifyError(
            f"{seen} of {len(given)} inputs of {data.name} are those that {bundle.path} was "
            "calibrated on: they say nothing about others, and there is no certificate",
            "Give data that it has not seen, with --data HELD_OUT",
        )
