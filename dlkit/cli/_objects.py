"""Tables of objects, as ``detect`` and ``denoise --objects`` write them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from dlkit.cli._folder import Flags
    from dlkit.runtime.folders.job import Job
    from dlkit.runtime.folders.object_table import ObjectForm
    from dlkit.runtime.folders.result import Result
    from dlkit.runtime.folders.table import Table
    from dlkit.storage import Place
    from dlkit.tasks import Model
    from dlkit.tasks.detect.with_denoiser import DenoiserWithObjects

_FORMATS = ("auto", "coco")


class Objects(NamedTuple):
    """What is found beside cleaning: the table, the bundle that finds it, its sensitivity."""

    table: str
    bundle: str
    sensitivity: str


def open_objects(
    target: Place, form: str, counts: ObjectForm
) -> Callable[[], AbstractContextManager[Table]]:
    """What opens the table at an address.

    Args:
        form: ``auto``, by the address's ending, or ``coco``.

    Raises:
        UsageError: there is no such format, or the ending is another one's.
    """
    from dlkit.errors import UsageError
    from dlkit.plugins import unknown
    from dlkit.runtime.folders.object_table import COCO, TABLES
    from dlkit.runtime.folders.table_files import open_table

    if form not in _FORMATS:
        raise unknown("format", form, list(_FORMATS))
    if form == "coco" and not target.name.lower().endswith(".json"):
        raise UsageError(f"--out is {target}, and COCO's files end in .json", "Say --out x.json")
    return partial(open_table, target, counts, COCO if form == "coco" else TABLES)


def say_found(counts: ObjectForm, console: Console) -> None:
    """How many objects there were."""
    things = "1 object" if counts.found == 1 else f"{counts.found} objects"
    scans = "1 scan" if counts.scans == 1 else f"{counts.scans} scans"
    console.print(f"{things} on {scans}", highlight=False)


def with_detector(
    model: Model[Any, Any, Any], objects: Objects, backend: str, device: str, console: Console
) -> DenoiserWithObjects:
    """A denoiser that finds objects too; closing it closes the detector.

    Raises:
        BundleError: the bundle is missing, damaged or for another task.
        UsageError: there is no such sensitivity.
    """
    from dlkit.cli._console import plain
    from dlkit.runtime.model import load
    from dlkit.tasks.denoise import Denoiser
    from dlkit.tasks.detect import TASK, Detector
    from dlkit.tasks.detect.with_denoiser import DenoiserWithObjects

    assert isinstance(model, Denoiser)
    detector = load(objects.bundle, backend=backend, device=device, task=TASK.name)
    assert isinstance(detector, Detector)
    session, spec = detector.opened.session, detector.bundle.spec
    console.print(
        f"{plain(spec.name)} ({spec.precision}) on {session.backend}, {session.device}",
        highlight=False,
    )
    return DenoiserWithObjects(model, detector.with_sensitivity(objects.sensitivity))


def with_table(
    job: Job, objects: Objects, inputs: Sequence[Place], flags: Flags
) -> tuple[Job, ObjectForm]:
    """The job of a denoiser with objects, with their table; and what will be counted.

    Raises:
        UsageError: the table would replace an input, or what no dlkit wrote.
    """
    from dlkit.atomic import check_writable
    from dlkit.runtime.folders import table_files
    from dlkit.runtime.folders.object_table import ObjectForm
    from dlkit.runtime.folders.pipeline import FileWork
    from dlkit.tasks.detect.record import line

    target = flags.place(objects.table)
    flags.check((), target)
    table_files.check_table(target, job.manifest, inputs, flags.overwrite or flags.dry_run)
    if not flags.dry_run and isinstance(target, Path):
        check_writable(target.resolve().parent, "--objects")
    counts = ObjectForm()

    def kept(result: Result) -> dict[str, Any]:
        answer = None if result.error is not None else result.answer
        return line([one.found for one in answer] if isinstance(answer, list) else
                    None if answer is None else answer.found)  # fmt: skip

    work = FileWork(job.work.runner, job.outputs, keep=True, frames=job.work.frames)
    table = open_objects(target, "auto", counts)
    return replace(job, work=work, line=kept, table=table), counts
