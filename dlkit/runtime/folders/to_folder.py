"""A file for every file: the job of most commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlkit.atomic import check_writable, same_place
from dlkit.errors import InputError, UsageError
from dlkit.runtime.folders import sources as listing
from dlkit.runtime.folders.feeding import Feeding
from dlkit.runtime.folders.job import Job, Options, Watch, answer_key
from dlkit.runtime.folders.outputs import Encode, Outputs
from dlkit.runtime.folders.pipeline import FileWork
from dlkit.runtime.folders.sources import Inputs, Source, ends_in
from dlkit.runtime.folders.stored_outputs import StoredOutputs
from dlkit.runtime.folders.tally import Tally
from dlkit.runtime.runner import Runner
from dlkit.storage import Address, Place, place
from dlkit.tasks import Model, Task

MANIFEST = "manifest.jsonl"


def folder_job(
    model: Model[Any, Any, Any],
    inputs: Sequence[Place],
    out: Place,
    feeding: Feeding,
    follow: bool = False,
    frames: str = "all",
    archives: bool = True,
) -> Job:
    """A file for every file, named as the model says.

    Args:
        frames: of a file that are taken.
        follow: go into folders that are links.
        archives: take tar and Parquet files as folders.

    Raises:
        UsageError: inputs that are missing or would be overwritten.
    """
    listing.check(inputs)
    refuse_same(out, inputs)

    def encode(source: Source, answer: Any, name: str) -> bytes:
        several = isinstance(answer, list)
        return model.encode_all(answer, name) if several else model.encode(answer, name)

    sources = Inputs(
        inputs, lambda name: ends_in(name, model.suffixes), out, follow, archives=archives
    )
    manifest = out.below(MANIFEST) if isinstance(out, Address) else out / MANIFEST
    outputs = outputs_in(out, model.output_name, encode, sources, manifest)
    runner = Runner(model, model.opened.session, feeding.batch)
    return Job(
        work=FileWork(runner, outputs, frames=frames),
        feeding=feeding,
        sources=sources,
        manifest=manifest,
        key=answer_key(model, frames),
        outputs=outputs,
        outputs_in=None if isinstance(out, Address) else out,
    )


def outputs_in(
    out: Place,
    name: Callable[[str], str],
    encode: Encode,
    inputs: Inputs,
    manifest: Place,
) -> Outputs | StoredOutputs:
    """A file or an object for every input.

    Args:
        name: what the output of a file is called, below ``out``.
        encode: gives an answer as the bytes of a file of a name.
        inputs: never replaced.
        manifest: of the run.
    """
    if isinstance(out, Address):
        seen_from = manifest.parent if isinstance(manifest, Address) else None
        return StoredOutputs(out, name, encode, inputs, seen_from)
    here = [path for path in inputs.paths if isinstance(path, Path)]
    listed = replace(inputs, paths=here).listed
    return Outputs(
        out, name, encode, listed, manifest.parent if isinstance(manifest, Path) else None
    )


def refuse_same(out: Place, inputs: Sequence[Place], option: str = "--out") -> None:
    """Refuse to write where the inputs are.

    Raises:
        UsageError: they would be overwritten.
    """
    for path in inputs:
        if isinstance(path, Address) and isinstance(out, Address):
            same = out in (path, path.parent)
        elif isinstance(path, Path) and isinstance(out, Path):
            same = any(same_place(out, place) for place in (path, path.resolve().parent))
        else:
            same = False
        if same:
            raise UsageError(
                f"{option} {out} is where the inputs are: they would be overwritten",
                f"Choose another {option}",
            )


def run_folder(
    model: Model[Any, Any, Any],
    task: Task,
    inputs: Sequence[Place | str],
    out: Place | str,
    batch: int | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    fail_fast: bool = False,
    frames: str = "all",
    watch: Watch = lambda *_: None,
) -> Tally:
    """Run files into a folder: a file for every file, subfolders mirrored.

    Args:
        task: that the model serves.
        inputs: folders, files and addresses (``s3://bucket/folder``).
        out: folder or address of the outputs; its manifest.jsonl says what was done.
        batch: samples that run together; by task and device.
        workers: threads that read, run and save; one a processor.
        overwrite: do everything anew, whatever the manifest says.
        fail_fast: stop after the first failure.
        frames: of an image file that are taken: ``all``, ``first``, or the number of one.
        watch: called now and then with how far it is.

    Raises:
        UsageError: inputs that are missing, or an ``out`` that would overwrite them.
        InputError: there is no input at all.
    """
    given, target = [place(path) for path in inputs], place(out)
    device = model.opened.session.device
    job = folder_job(model, given, target, Feeding.of(task, device, batch, workers), frames=frames)
    if next(job.sources(), None) is None:
        raise no_inputs(given, model.suffixes)
    if isinstance(target, Path):
        check_writable(target)
    return job.run(Options(overwrite, fail_fast=fail_fast), watch)


def no_inputs(inputs: Sequence[Place], suffixes: Iterable[str]) -> InputError:
    """The error of inputs without a single file."""
    return InputError(
        f"nothing to do in {', '.join(map(str, inputs))}, expected files that end in "
        + ", ".join(sorted(suffixes))
        + "; or .tar and .parquet files of these"
    )
