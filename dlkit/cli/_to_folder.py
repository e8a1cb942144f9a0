"""What ``denoise`` and ``run`` do: a bundle over files, a file for every file."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dlkit.cli._console import notes
from dlkit.cli._folder import Flags, end, execute, load_model
from dlkit.cli._ray import same_command

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from dlkit.runtime.folders.feeding import Feeding
    from dlkit.runtime.folders.sources import Inputs
    from dlkit.storage import Place
    from dlkit.tasks import Model

_LOOKED_AT = 4  # files, to see what range their values have


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
) -> NoReturn:
    """Run a bundle into a folder, a file for every file; ends the command.

    Args:
        task: that the bundle must serve; None for its own.
        value_range: of a denoiser's images, as ``--range`` has it.
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
        flags = replace(flags, command=same_command(context, flags, target))

    def feed(device: str) -> Feeding:
        return Feeding.of(serves, device, batch, workers)

    files = Inputs(inputs, lambda name: ends_in(name, suffixes), target, flags.follow,
                   archives=not flags.watch)  # fmt: skip
    if not flags.watch and next(files(), None) is None:
        raise no_inputs(inputs, suffixes)
    model, feeding = load_model(
        opened, serves.name, backend, device, feed, None if flags.watch else files(),
        flags.require_certificate, flags.accept_random, console,
    )  # fmt: skip
    with model:
        _set_range(model, value_range, files, console)
        job = folder_job(model, inputs, target, feeding, flags.follow, flags.frames,
                         archives=not flags.watch)  # fmt: skip
        if not flags.dry_run and isinstance(target, Path):
            check_writable(target)
        code = execute(job, flags, console)
    end(target, code)


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


def _set_range(
    model: Model[Any, Any, Any], text: str | None, files: Inputs, console: Console
) -> None:
    """Set which values stand for black and white: as asked for, or as the first files look."""
    from dlkit import images
    from dlkit.errors import InputError
    from dlkit.tasks._levels import TWELVE_BITS, parse_range, twelve_bits

    if not isinstance(model, Denoiser):
        return
    if text is not None:
        model.range = parse_range(text)
        return
    looked_at = []
    for source in itertools.islice(files(), _LOOKED_AT):
        with contextlib.suppress(InputError):
            looked_at.append(images.decode(source.read(), source.path))
    if not twelve_bits(looked_at):
        return
    model.range = TWELVE_BITS
    console.print(
        "16-bit images hold no value above 4095: taken as 12 bits, --range 0:4095; for all 16 bits "
        "say --range 0:65535",
        style="yellow",
        soft_wrap=True,
    )
