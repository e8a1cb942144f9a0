"""What ``denoise`` and ``run`` do: a bundle over files, a file for every file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dlkit.cli._console import notes, plain
from dlkit.cli._folder import Flags, end, execute, load_model
from dlkit.cli._objects import (
    Objects,
    check_objects,
    open_detector,
    say_found,
    with_detector,
    with_table,
)
from dlkit.cli._range import set_range
from dlkit.cli._ray import for_shards

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from dlkit.runtime.folders.feeding import Feeding
    from dlkit.storage import Place
    from dlkit.tasks import Model

_NAMED = 8  # arrays that are left out


def to_folder(
    context: typer.Context,
    task: str | None,
    bundle: str,
    given: list[str],
    out: str | None,
    backend: str,
    device: str,
    batch: int | None,
    workers: int | None,
    flags: Flags,
    value_range: str | None = None,
    objects: Objects | None = None,
) -> NoReturn:
    """Run a bundle into a folder, a file for every file; ends the command.

    Args:
        task: that the bundle must serve; None for its own.
        value_range: of a denoiser's images, as ``--range`` has it.
        objects: what else is found on a denoiser's images.
    """
    from dlkit.atomic import check_writable
    from dlkit.bundle import Bundle
    from dlkit.runtime.folders.feeding import Feeding
    from dlkit.runtime.folders.sources import Inputs, check, ends_in
    from dlkit.runtime.folders.to_folder import folder_job, no_inputs
    from dlkit.runtime.model import task_of

    console = notes()
    inputs = [flags.place(one) for one in given]
    check(inputs)
    opened = Bundle.open(bundle)
    serves = task_of(opened, task)
    suffixes = serves.model.suffixes
    target = flags.place(out) if out else _beside(inputs[0], serves.folder or opened.spec.name)
    flags.check(inputs, target)
    if flags.ray is not None:
        flags = for_shards(context, flags, target)

    def feed(device: str) -> Feeding:
        return Feeding.of(serves, device, batch, workers)

    files = Inputs(inputs, lambda name: ends_in(name, suffixes), target, flags.follow,
                   archives=not flags.watch)  # fmt: skip
    if not flags.watch and next(files(), None) is None:
        raise no_inputs(inputs, suffixes)
    table = finds = None
    if objects is not None:
        finds = open_detector(objects.bundle, objects.sensitivity)
        table = check_objects(objects.table, target, files, flags)

    def load(bundle: Bundle, task: str) -> tuple[Model[Any, Any, Any], Feeding]:
        return load_model(
            bundle, task, backend, device, feed, None if flags.watch else files(),
            flags.require_certificate, flags.accept_random, console,
        )  # fmt: skip

    model, feeding = load(opened, serves.name)
    counts = None
    with ExitStack() as stack:
        stack.enter_context(model)
        if objects is not None and finds is not None:
            both = with_detector(model, finds, objects.sensitivity, load, console)
            model = stack.enter_context(both)
        set_range(model, value_range, files, console)
        job = folder_job(model, inputs, target, feeding, flags.follow, flags.frames,
                         archives=not flags.watch)  # fmt: skip
        if table is not None:
            job, counts = with_table(job, table, flags)
        if not flags.dry_run and isinstance(target, Path):
            check_writable(target)
        code = execute(job, flags, console)
        _say_passed_over(model, console)
    if counts is not None:
        say_found(counts, console)
    end(target, code)


def _say_passed_over(model: Model[Any, Any, Any], console: Console) -> None:
    """Say which arrays of the files were not asked for."""
    from dlkit.tasks._arrays import PassesOver

    if isinstance(model, PassesOver):
        for name, count in model.passed_over.most_common(_NAMED):
            text = plain(f"left out the array {name} of {count} files: the graph takes no such one")
            console.print(text, style="yellow", highlight=False, soft_wrap=True)


def _beside(inputs: Place, ending: str) -> Place:
    """Where outputs go when nobody says it."""
    from dlkit.errors import UsageError
    from dlkit.storage import Address

    if isinstance(inputs, Address):
        if not inputs.key:
            raise UsageError(f"there is no --out, and {inputs} is a whole bucket", "Name an --out")
        return inputs.with_name(f"{inputs.name}-{ending}")
    first = inputs.resolve()
    base = first if first.is_dir() else first.parent
    return base.with_name(f"{base.name}-{ending}")
