"""What the commands that run folders share: load the model, show how far it is, sum up."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dlkit.cli._console import plain

if TYPE_CHECKING:
    from dlkit.bundle import Bundle
    from dlkit.runtime.folders.feeding import Feeding
    from dlkit.runtime.folders.job import Job, Options
    from dlkit.runtime.folders.pipeline import Seconds
    from dlkit.runtime.folders.sources import Source
    from dlkit.runtime.folders.tally import Tally
    from dlkit.storage import Place
    from dlkit.tasks import Model

_SHOW = 0.1  # seconds between two updates of the live line


@dataclass(frozen=True)
class Flags:
    """Options that all of these commands have."""

    overwrite: bool = False
    watch: bool = False
    dry_run: bool = False
    fail_fast: bool = False
    follow: bool = False
    require_certificate: bool = False
    accept_random: bool = False
    frames: str = "all"
    max_pixels: int | None = None
    shard: str | None = None
    ray: str | None = None
    command: list[str] = field(default_factory=list)
    run_command: Any = None  # as ``dlkit.cli.run_command``; workers find it by that name

    def __post_init__(self) -> None:
        from dlkit.errors import UsageError
        from dlkit.limits import allow_pixels

        if self.frames not in ("all", "first") and not (
            self.frames.isdecimal() and int(self.frames) > 0
        ):
            raise UsageError(f"--frames is '{self.frames}', expected all, first, or 1, 2, 3 ...")
        if self.cut:
            from dlkit.cli._shards import check_shard

            others = self.watch or self.dry_run or self.fail_fast
            check_shard(self.shard, self.ray, self.overwrite, others)
        if self.max_pixels is not None:  # OpenCV is not loaded yet
            allow_pixels(self.max_pixels)

    @property
    def cut(self) -> bool:
        """The run is cut into shards."""
        return self.shard is not None or self.ray is not None

    def place(self, text: str) -> Place:
        """A path or an address; shards have addresses for folders, too."""
        from dlkit.storage import place

        found = place(text)
        if self.cut and isinstance(found, Path):
            return place(f"file://{found.resolve()}")
        return found

    def check(self, inputs: Iterable[Place], *outs: Place) -> None:
        """Refuse what object storage cannot give.

        Raises:
            UsageError: a bucket that is to be watched, or has links.
        """
        from dlkit.errors import UsageError
        from dlkit.storage import Address

        if self.watch and any(isinstance(one, Address) for one in (*inputs, *outs)):
            raise UsageError(
                "--watch is for folders: a bucket would be listed over and over",
                "Run the command again when there is more; it does what is new",
            )
        if self.follow and any(isinstance(one, Address) for one in inputs):
            raise UsageError("--follow-symlinks is for folders; addresses and shards have no links")

    @property
    def options(self) -> Options:
        """As the job takes them."""
        from dlkit.runtime.folders.job import Options

        return Options(self.overwrite, self.watch, self.fail_fast)


def end(out: Place, code: int) -> NoReturn:
    """Print where the answers are, and end the command."""
    try:
        typer.echo(str(out))
        sys.stdout.flush()
    except (OSError, ValueError):  # nobody listens; the work is done all the same
        sys.stdout = None  # or Python would try again at its end, and fail
    raise typer.Exit(code)


def load_model(
    bundle: Bundle,
    task: str,
    backend: str,
    device: str,
    feed: Callable[[str], Feeding],
    sources: Iterable[Source] | None,
    require_certificate: bool,
    accept_random: bool,
    console: Console,
) -> tuple[Model[Any, Any, Any], Feeding]:
    """Load the bundle; say what was chosen and what was not, and whether it was verified.

    Args:
        feed: gives how the model is fed on a device.
        sources: of the inputs; None where there is enough work for all processors.

    Raises:
        BundleError: a certificate is required, and the file that would run has none.
    """
    from dlkit.errors import BundleError
    from dlkit.runtime.advice import HELD_OUT, how_to_verify
    from dlkit.runtime.model import load

    feeding = feed("cpu")
    callers = feeding.workers if sources is None else feeding.callers(sources)
    model = load(bundle, backend=backend, device=device, task=task, callers=callers)
    session, spec = model.opened.session, model.bundle.spec
    console.print(
        f"{plain(spec.name)} ({spec.precision}) on {session.backend}, {session.device}",
        highlight=False,
    )
    reasons: dict[str, list[str]] = {}
    for name, reason in model.opened.passed_over.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        line = f"  not {', '.join(names)}: {plain(reason)}"
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    other = session.backend if session.arithmetic else None
    whys = [(bundle, bundle.uncertified(session.sha256, other))]
    for one in model.others:
        if not one.shipped:
            line = f"  with {plain(str(one.path))}"
            console.print(line, style="dim", highlight=False, soft_wrap=True)
        whys.append((one, one.uncertified(one.sha256)))
    for one, why in whys:
        if why is not None:
            mend = f"Measure it: {how_to_verify(one)}"
            if require_certificate:
                model.close()
                raise BundleError(why, mend)
            line = plain(f"warning: {why}. {mend}")
            console.print(line, style="yellow", highlight=False, soft_wrap=True)
        elif require_certificate and not accept_random and _random(one):
            model.close()
            raise BundleError(
                f"{one.path} was verified on random inputs, on which nobody knows the answers",
                f"Verify it on real ones: {how_to_verify(one, data=HELD_OUT)}; or say "
                "--accept-random",
            )
    return model, feed(session.device)


def _random(bundle: Bundle) -> bool:
    return bundle.certificate is not None and bundle.certificate.inputs.random


def execute(job: Job, flags: Flags, console: Console) -> int:
    """Run a job behind a live line; gives the exit code."""
    from dlkit.runtime.folders.tally import Tally

    if flags.dry_run:
        todo, done = job.would_do(flags.overwrite)
        console.print(f"would do {todo}, done before {done}; nothing was written", highlight=False)
        return 0
    if flags.watch:
        console.print("watching; Ctrl-C ends", style="dim")
    if flags.ray is not None:
        from dlkit.cli._ray import ray_tally

        tally = ray_tally(job, flags, console, job.work.runner.session.device == "cuda")
        return sum_up(tally, job.manifest, console)
    tally = Tally()
    try:
        with _live(job, console, flags.shard is None) as watch:
            if flags.shard is not None:
                from dlkit.cli._shards import shard_tally

                tally = shard_tally(job, flags.shard, flags.overwrite, watch, console)
            else:
                job.run(flags.options, watch, tally)
    except Exception:  # a bug, or a table without room: what was done is told all the same
        if tally.all:
            sum_up(tally, job.manifest, console)
        raise
    _say_store(job.manifest, console)
    return sum_up(tally, job.manifest, console)


def _say_store(manifest: Place, console: Console) -> None:
    """Say what the store of the outputs does not promise."""
    from dlkit.storage import Address, open_store

    if isinstance(manifest, Address) and not open_store(manifest).conditional:
        console.print(
            f"{plain(manifest.root)} puts objects without regard to If-None-Match: two runs at the "
            "same moment may replace each other's outputs",
            style="yellow", highlight=False, soft_wrap=True,
        )  # fmt: skip


@contextmanager
def _live(job: Job, console: Console, counted: bool) -> Iterator[Callable[[Tally, Seconds], None]]:
    """A live line: rate, bottleneck; time left where the inputs are ``counted``."""
    stop = threading.Event()
    total: list[int] = []

    def count() -> None:
        found = 0
        for source in job.sources.listed():
            if job.sources.is_archive(source):
                return  # nobody knows how many it holds
            found += 1
            if stop.is_set():
                return
        total.append(found)

    counted = counted and console.is_terminal
    counting = threading.Thread(target=count, daemon=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("starting", total=None, rate=0.0)
        shown = 0.0

        def watch(tally: Tally, seconds: Seconds) -> None:
            nonlocal shown
            if (now := time.monotonic()) - shown > _SHOW:
                stage, share = seconds.bottleneck()
                progress.update(
                    bar,
                    description=f"{stage} takes {share:.0%}",
                    completed=tally.all,
                    total=total[0] if total else None,
                    rate=tally.done / tally.seconds,
                )
                shown = now

        if counted:
            counting.start()
        try:
            yield watch
        finally:
            stop.set()
            if counted:
                counting.join()


def sum_up(tally: Tally, manifest: Place, console: Console) -> int:
    """Print failures and figures; gives the exit code."""
    for name, error in tally.failures:
        text = error if name in error else f"{name}: {error}"
        console.print(f"failed: {plain(text)}", style="red", highlight=False, soft_wrap=True)
    if (more := tally.failed - len(tally.failures)) > 0:
        text = plain(f"... and {more} more failed: {manifest}")
        console.print(text, style="red", soft_wrap=True)
    for line in tally.left_out.lines():
        console.print(plain(line), style="yellow", highlight=False, soft_wrap=True)
    before = f"{tally.skipped} done before, " if tally.skipped else ""
    left = sum(tally.left_out.counts.values())
    out = f", {left} left out" if left else ""
    console.print(
        f"{before}{tally.done} done, {tally.failed} failed{out}, "
        f"{tally.seconds:.1f} s, {(tally.done + tally.failed) / tally.seconds:.0f} images/s",
        highlight=False,
    )
    return 1 if tally.failed else 0
