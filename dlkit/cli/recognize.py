"""dlkit recognize"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.reading.page import Page
    from dlkit.runtime.folders.sources import Source
    from dlkit.runtime.folders.table import Table
    from dlkit.runtime.folders.tally import Tally
    from dlkit.tasks.recognize import Prediction

    Answer = Prediction | Page

EXAMPLE = "Example:  dlkit recognize scans/ --out digits.csv --annotate seen/ --reject 0.9"

_LARGE = 1 << 14  # bytes
_PHOTOGRAPHS = 4  # that a worker takes at once: finding digits takes longer than recognizing them


def command(
    context: typer.Context,
    inputs: _options.Inputs,
    model: Annotated[str, typer.Option(help="Bundle: a folder, or the name of a shipped one.")] = (
        "digits"
    ),
    out: Annotated[
        str,
        typer.Option(help="Table of results; .jsonl gives JSON lines, .parquet Parquet, else CSV."),
    ] = "predictions.csv",
    mode: Annotated[
        str,
        typer.Option(help="single: one digit an image; page: lines of them; auto: as it looks."),
    ] = "auto",
    annotate: Annotated[
        str | None, typer.Option(help="Folder of pictures with boxes and what was read.")
    ] = None,
    reject: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Mark digits below this probability as unsure."),
    ] = None,
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
    """Recognize handwritten digits: MNIST's squares, photographs, pages.

    With a bundle of your own: its classes, one an image, in the column digit.

    Images of 28 x 28 go to the network as they are. In others digits are found:
    on ruled and squared paper, in boxes, on a desk, in any light, tilted by up
    to 10 degrees. The table has a row a digit, with its line, its place in it
    and its box; or, where OUT ends in .jsonl, an object an image.

    Arrays of many images are taken too: .npy and .npz (N, 28, 28) or (N, 784) and
    MNIST's IDX files, at memory speed; tar and Parquet files are taken as folders.
    A second run goes on where the first stopped, and redoes what changed:
    OUT.manifest.jsonl says what was done.
    """
    from dlkit.cli._console import notes
    from dlkit.cli._folder import Flags, end, execute, load_model
    from dlkit.cli._ray import for_shards

    flags = Flags(
        overwrite,
        watch,
        dry_run,
        fail_fast,
        follow_symlinks,
        require_certificate,
        accept_random,
        frames,
        max_pixels,
        shard,
        ray,
    )
    from dlkit import images
    from dlkit.atomic import check_writable
    from dlkit.bundle import Bundle
    from dlkit.errors import UsageError
    from dlkit.reading.annotate import picture, whole
    from dlkit.reading.page import Page
    from dlkit.reading.reading import MODES
    from dlkit.reading.record import line
    from dlkit.runtime.folders import arrays, table_files
    from dlkit.runtime.folders.archives import is_archive
    from dlkit.runtime.folders.array_files import is_array
    from dlkit.runtime.folders.feeding import Feeding
    from dlkit.runtime.folders.job import Job, answer_key
    from dlkit.runtime.folders.pipeline import FileWork
    from dlkit.runtime.folders.sources import Inputs, check, ends_in
    from dlkit.runtime.folders.table import Form
    from dlkit.runtime.folders.to_folder import no_inputs, outputs_in, refuse_same
    from dlkit.runtime.model import task_of
    from dlkit.runtime.runner import Runner
    from dlkit.tasks.recognize import Recognizer

    console = notes()
    places = [flags.place(one) for one in inputs]
    check(places)
    if mode not in MODES:
        raise UsageError(f"there is no mode '{mode}'", f"Use one of {', '.join(MODES)}")
    target = flags.place(out)
    seen = flags.place(annotate) if annotate else None
    flags.check(places, target, *([seen] if seen else []))
    if ray is not None:
        flags = for_shards(context, flags, target)
    if seen is not None:
        refuse_same(seen, places, "--annotate")
        if isinstance(seen, Path) and seen.exists() and not seen.is_dir():
            raise UsageError(f"--annotate {seen} is a file, expected a folder")

    def is_file(name: str) -> bool:
        return ends_in(name, images.SUFFIXES)

    def is_taken(name: str) -> bool:
        return is_file(name) or is_array(name) or is_archive(name)

    table_files.check_table(target, places, is_taken, overwrite or dry_run)
    if seen is not None:
        table_files.check_pictures(target, seen, is_file)

    def is_named_file(source: Source) -> bool:
        return not is_array(source.name)

    files = Inputs(
        places, is_file, seen, follow_symlinks, is_named_file, not watch,
        # watched folders are listed again and again, and arrays are done once
        is_array if not watch else lambda name: False,
    )  # fmt: skip
    array_files = Inputs(places, is_array, seen, follow_symlinks, lambda one: is_array(one.name))
    with_arrays = next(array_files(), None) is not None
    if with_arrays and seen is not None:
        text = "arrays of many images are read, not drawn: --annotate is for images"
        console.print(text, style="yellow", highlight=False)
    if with_arrays and flags.cut:
        raise UsageError("arrays are not cut into shards", "Run them by themselves, unsharded")
    if not watch and next(files(), None) is None and not with_arrays:
        raise no_inputs(places, {*images.SUFFIXES, ".npy", ".npz", "-ubyte"})
    chunk = _PHOTOGRAPHS if mode == "page" or _large(files()) else None

    opened = Bundle.open(model)
    task = task_of(opened, "recognize")

    def feed(device: str) -> Feeding:
        return Feeding.of(task, device, batch, workers, chunk)

    found, feeding = load_model(
        opened, task.name, backend, device, feed, None if watch or with_arrays else files(),
        require_certificate, accept_random, console,
    )  # fmt: skip
    assert isinstance(found, Recognizer)
    recognizer = found
    if not dry_run:
        if isinstance(target, Path):
            check_writable(target.resolve().parent)
        if isinstance(seen, Path):
            check_writable(seen, "--annotate")
    runner = Runner(recognizer, recognizer.opened.session, feeding.batch)
    array_work = arrays.ArrayWork(runner, recognizer)

    def more(tally: Tally, rows: Table | None) -> Iterator[object]:
        if watch or rows is None or not with_arrays:
            return  # arrays are done whole, not watched
        for source in array_files():
            for part in arrays.answers(array_work, source, feeding.workers, tally):
                rows.add(part)
                yield None

    def draw(source: Source, answer: Answer | list[Answer], name: str) -> bytes:
        data = source.read()
        pictures = []
        answers = answer if isinstance(answer, list) else [answer]
        found = recognizer.decode_all(data, source.path, frames)
        for image, one in zip(found, answers, strict=True):
            page = one if isinstance(one, Page) else whole(one, image.shape)
            pictures.append(picture(image, page, reject))
        return images.encode_frames(name, pictures)

    pages = mode != "single" and recognizer.bundle.spec.pages
    form = Form(pages=pages, reject=reject)
    manifest = table_files.manifest_of(target)
    everything = Inputs(places, is_taken, seen, follow_symlinks)
    outputs = None
    if seen is not None:
        outputs = outputs_in(seen, images.in_colours, draw, everything, manifest)
    job = Job(
        work=FileWork(runner, outputs, True, recognizer.whole(mode), frames),
        feeding=feeding,
        sources=files,
        manifest=manifest,
        # Pictures show which digits are unsure.
        key=answer_key(recognizer, f"{mode} {frames}{f' {reject}' if annotate else ''}"),
        outputs=outputs,
        outputs_in=seen if isinstance(seen, Path) else None,
        line=line,
        table=partial(table_files.open_table, target, form=form),
        more=more,
    )
    with recognizer:
        code = execute(job, flags, console)
    if reject is not None and not dry_run:
        console.print(
            f"{form.unsure} of {form.digits} digits unsure: probability below {reject:g}",
            highlight=False,
        )
    if form.empty and not dry_run:
        what = "image" if form.empty == 1 else "images"
        console.print(f"{form.empty} {what} without a digit", style="yellow", highlight=False)
    end(target, code)


def _large(sources: Iterator[Source]) -> bool:
    """Whether the first files are larger than 28 x 28 pixels could be."""
    return any(_size(source) > _LARGE for source in itertools.islice(sources, 8))


def _size(source: Source) -> int:
    if source.stored is not None:
        return source.stored.size
    return os.path.getsize(source.path) if os.path.isfile(source.path) else 0  # noqa: PTH113, PTH202


command.__name__ = "recognize"
