"""Tables of objects, as ``detect`` and ``denoise --objects`` write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.bundle import Bundle
    from dlkit.cli._folder import Flags
    from dlkit.runtime.folders.feeding import Feeding
    from dlkit.runtime.folders.job import Job
    from dlkit.runtime.folders.journal import Journal
    from dlkit.runtime.folders.object_table import ObjectForm
    from dlkit.runtime.folders.result import Result
    from dlkit.runtime.folders.sources import Inputs
    from dlkit.runtime.folders.table import Table
    from dlkit.runtime.folders.table_files import Notes
    from dlkit.storage import Place
    from dlkit.tasks import Model
    from dlkit.tasks.detect import Detector
    from dlkit.tasks.detect.with_denoiser import DenoiserWithObjects

_FORMATS = ("auto", "coco")


class Objects(NamedTuple):
    """What is found beside cleaning: the table, the bundle that finds it, its sensitivity."""

    table: str
    bundle: str
    sensitivity: str


def open_objects(
    target: Place, form: str, counts: ObjectForm
) -> Callable[[Notes, bool], AbstractContextManager[Table]]:
    """What opens the table at an address, as ``Job.table`` does.

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
    kinds = COCO if form == "coco" else TABLES
    return partial(open_table, target, form=counts, kinds=kinds)


def say_found(counts: ObjectForm, console: Console) -> None:
    """How many objects there were, where a table was written: a shard writes none."""
    if not counts.begun:
        return
    things = "1 object" if counts.found == 1 else f"{counts.found} objects"
    scans = "1 scan" if counts.scans == 1 else f"{counts.scans} scans"
    console.print(f"{things} on {scans}", highlight=False)


def open_detector(bundle: str, sensitivity: str) -> Bundle:
    """The bundle of a detector that has such a sensitivity.

    Raises:
        BundleError: it is missing, damaged or for another task.
        UsageError: there is no such sensitivity.
    """
    from dlkit.bundle import Bundle
    from dlkit.runtime.model import task_of
    from dlkit.tasks.detect import TASK
    from dlkit.tasks.detect.model import threshold_of, thresholds_of

    opened = Bundle.open(bundle)
    task_of(opened, TASK.name).check(opened.spec)
    threshold_of(thresholds_of(opened.spec), sensitivity)
    return opened


def say_guessed(detector: Detector, console: Console) -> None:
    """Warn of thresholds that nobody measured."""
    from dlkit.cli._console import plain

    if not detector.measured:
        console.print(
            f"warning: {plain(detector.bundle.spec.name)} was exported without a training: its "
            f"threshold of {detector.threshold:g} is a guess, and nobody measured what it brings",
            style="yellow", highlight=False, soft_wrap=True,
        )  # fmt: skip


def with_detector(
    model: Model[Any, Any, Any],
    bundle: Bundle,
    sensitivity: str,
    load: Callable[[Bundle, str], tuple[Model[Any, Any, Any], Feeding]],
    console: Console,
) -> DenoiserWithObjects:
    """A denoiser that finds objects too; closing it closes the detector.

    Args:
        bundle: of the detector; see ``open_detector``.
        load: loads a bundle for a task, as the denoiser was loaded.
    """
    from dlkit.tasks.denoise import Denoiser
    from dlkit.tasks.detect import TASK, Detector
    from dlkit.tasks.detect.with_denoiser import DenoiserWithObjects

    assert isinstance(model, Denoiser)
    found, _ = load(bundle, TASK.name)
    assert isinstance(found, Detector)
    detector = found.with_sensitivity(sensitivity)
    say_guessed(detector, console)
    return DenoiserWithObjects(model, detector)


def check_objects(table: str, out: Place, inputs: Inputs, flags: Flags) -> Place:
    """Where the table of a denoiser's objects goes.

    Raises:
        UsageError: it would replace an input, an output, or what no dlkit wrote.
    """
    from dlkit.errors import UsageError
    from dlkit.runtime.folders.table_files import check_table, is_inside

    target = flags.place(table)
    flags.check((), target)
    if is_inside(target, out):
        raise UsageError(
            f"--objects {target} is in --out {out}, where the cleaned images go",
            "Choose a place beside it",
        )
    replaced = flags.overwrite or flags.dry_run
    check_table(target, inputs.paths, inputs.takes, replaced, "--objects")
    return target


def with_table(job: Job, target: Place, flags: Flags) -> tuple[Job, ObjectForm]:
    """The job of a denoiser with objects, with their table; and what will be counted.

    Args:
        target: of the table; see ``check_objects``.
    """
    from dlkit.atomic import check_writable
    from dlkit.runtime.folders.object_table import ObjectForm
    from dlkit.runtime.folders.pipeline import FileWork
    from dlkit.runtime.folders.table_files import own_notes
    from dlkit.tasks.detect.record import line

    if not flags.dry_run and isinstance(target, Path):
        check_writable(target.resolve().parent, "--objects")
    counts = ObjectForm()

    def kept(result: Result) -> dict[str, Any]:
        answer = None if result.error is not None else result.answer
        return line([one.found for one in answer] if isinstance(answer, list) else
                    None if answer is None else answer.found)  # fmt: skip

    opens = open_objects(target, "auto", counts)

    @contextmanager
    def table(journal: Journal, replace: bool) -> Iterator[Table]:
        with own_notes(target, replace) as notes, opens(notes, replace) as rows:
            yield rows

    work = FileWork(job.work.runner, job.outputs, keep=True, frames=job.work.frames)
    return replace(job, work=work, line=kept, table=table), counts
