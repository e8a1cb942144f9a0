"""dlkit detect"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.runtime.folders.result import Result
    from dlkit.runtime.folders.sources import Source
    from dlkit.tasks.detect import Detection

EXAMPLE = "Example:  dlkit detect scans/ --out objects.jsonl --annotate seen/"


def command(
    context: typer.Context,
    inputs: _options.Inputs,
    model: Annotated[str, typer.Option(help="Bundle: a folder, or the name of a shipped one.")] = (
        "objects"
    ),
    out: Annotated[
        str,
        typer.Option(
            help="Table of objects; .jsonl and .json give JSON lines, .parquet Parquet, else CSV."
        ),
    ] = "objects.csv",
    form: Annotated[
        str, typer.Option("--format", help="auto: as OUT's name says; coco: COCO's JSON.")
    ] = "auto",
    sensitivity: Annotated[
        str,
        typer.Option(help="high: misses least; low: fewest false alarms; normal: between."),
    ] = "normal",
    annotate: Annotated[
        str | None, typer.Option(help="Folder of scans with boxes and scores.")
    ] = None,
    range_: _options.Range = None,
    backend: _options.Backend = "auto",
    device: _options.Device = "auto",
    batch: _options.Batch = None,
    workers: _options.Workers = None,
    overwrite: _options.Overwrite = False,
    watch: _options.Watch = False,
    dry_run: _options.DryRun = False,
    fail_fast: _options.FailFast = False,
    frames: _options.Frames = "all",
    max_pixels: _options.MaxPixels = None,
    follow_symlinks: _options.FollowSymlinks = False,
    shard: _options.Shard = None,
    ray: _options.Ray = None,
    require_certificate: _options.RequireCertificate = False,
    accept_random: _options.AcceptRandom = False,
) -> None:
    """Find concealed objects on millimetre-wave scans: boxes, scores, outlines.

    It takes scans as they come, not cleaned ones. What each sensitivity finds and how often it is
    wrong is in docs/detection.md; no answer replaces a look. A second run goes on where the first
    stopped: OUT.manifest.jsonl says what was done.
    """
    from dlkit import images
    from dlkit.atomic import check_writable
    from dlkit.cli._console import notes
    from dlkit.cli._folder import Flags, end, execute, load_model
    from dlkit.cli._objects import open_detector, open_objects, say_found, say_guessed
    from dlkit.cli._range import set_range
    from dlkit.cli._ray import for_shards
    from dlkit.errors import UsageError
    from dlkit.runtime.folders import table_files
    from dlkit.runtime.folders.feeding import Feeding
    from dlkit.runtime.folders.job import Job, answer_key
    from dlkit.runtime.folders.object_table import ObjectForm
    from dlkit.runtime.folders.pipeline import FileWork
    from dlkit.runtime.folders.sources import Inputs, check, ends_in
    from dlkit.runtime.folders.to_folder import no_inputs, outputs_in, refuse_same
    from dlkit.runtime.model import task_of
    from dlkit.runtime.runner import Runner
    from dlkit.tasks._levels import to_bytes
    from dlkit.tasks.detect import Detector
    from dlkit.tasks.detect.picture import picture
    from dlkit.tasks.detect.record import line

    console = notes()
    flags = Flags(
        overwrite, watch, dry_run, fail_fast, follow_symlinks, require_certificate, accept_random,
        frames, max_pixels, shard, ray,
    )  # fmt: skip
    places = [flags.place(one) for one in inputs]
    check(places)
    target = flags.place(out)
    seen = flags.place(annotate) if annotate else None
    flags.check(places, target, *([seen] if seen else []))
    if ray is not None:
        flags = for_shards(context, flags, target)
    if seen is not None:
        refuse_same(seen, places, "--annotate")
        if isinstance(seen, Path) and seen.exists() and not seen.is_dir():
            raise UsageError(f"--annotate {seen} is a file, expected a folder")
    files = Inputs(places, lambda name: ends_in(name, images.SUFFIXES), seen, follow_symlinks,
                   archives=not watch)  # fmt: skip
    table_files.check_table(target, places, files.takes, overwrite or dry_run)
    if seen is not None:
        table_files.check_pictures(target, seen, files.wanted)
    counts = ObjectForm()
    table = open_objects(target, form, counts)
    if not watch and next(files(), None) is None:
        raise no_inputs(places, images.SUFFIXES)
    opened = open_detector(model, sensitivity)
    task = task_of(opened, "detect")

    def feed(device: str) -> Feeding:
        return Feeding.of(task, device, batch, workers)

    found, feeding = load_model(
        opened, task.name, backend, device, feed, None if watch else files(),
        require_certificate, accept_random, console,
    )  # fmt: skip
    assert isinstance(found, Detector)
    with found:
        detector = found.with_sensitivity(sensitivity)
        say_guessed(detector, console)
        set_range(detector, range_, files, console)
        if not dry_run:
            if isinstance(target, Path):
                check_writable(target.resolve().parent)
            if isinstance(seen, Path):
                check_writable(seen, "--annotate")

        def draw(source: Source, answer: Detection | list[Detection], name: str) -> bytes:
            answers = answer if isinstance(answer, list) else [answer]
            scans = detector.decode_all(source.read(), source.path, frames)
            pictures = [picture(to_bytes(scan, detector.range), one)
                        for scan, one in zip(scans, answers, strict=True)]  # fmt: skip
            return images.encode_frames(name, pictures)

        def kept(result: Result) -> dict[str, object]:
            return line(None if result.error is not None else result.answer)

        manifest = table_files.manifest_of(target)
        outputs = None
        if seen is not None:
            outputs = outputs_in(seen, images.in_colours, draw, files, manifest)
        runner = Runner(detector, detector.opened.session, feeding.batch)
        job = Job(
            work=FileWork(runner, outputs, keep=True, frames=frames),
            feeding=feeding,
            sources=files,
            manifest=manifest,
            key=answer_key(detector, frames),
            outputs=outputs,
            outputs_in=seen if isinstance(seen, Path) else None,
            line=kept,
            table=table,
        )
        code = execute(job, flags, console)
    say_found(counts, console)
    end(target, code)


command.__name__ = "detect"
