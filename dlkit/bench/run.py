"""From what is asked for to a result: what was measured, where, and against which ceiling."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from dlkit.bench import machine, measure, plan, rows
from dlkit.bench.jobs import Ceiling, Jobs
from dlkit.bench.result import BenchResult
from dlkit.bundle import Bundle, shipped
from dlkit.errors import BackendError
from dlkit.given import seconds_of, several, whole_of

FORMAT = 1
OnStep = Callable[[int, int, str], None]


def bench(
    bundles: Sequence[str | Path | Bundle] = (),
    *,
    folder: Path | str | None = None,
    batches: Sequence[int] = (),
    backends: Sequence[str] = (),
    device: str = "auto",
    size: tuple[int, int] = plan.SCAN,
    axes: Mapping[str, int] | None = None,
    seconds: float = 1.0,
    rounds: int = 3,
    threads: int | None = None,
    on_step: OnStep = lambda *_: None,
) -> BenchResult:
    """Measure speed, latency and memory of bundles here, beside what the machine could do.

    Every measurement has a fresh process; each round goes over all ways once. Inputs are random:
    speed depends on their shapes. docs/bench.md says what each figure means.

    Args:
        bundles: folders, names of shipped ones, or opened bundles; all that ship by default.
        folder: files for the task's command, which is then measured from end to end too.
        batches: samples in one call; what suits each task by default.
        backends: names; all that run here by default.
        device: ``cpu``, ``cuda``, or ``auto`` for both.
        size: height and width where a graph leaves them free; padded to what it takes.
        axes: size of other free axes, by their names in the spec.
        seconds: measured time of each way in each round.
        rounds: over all ways.
        threads: CPU threads of inference alone; all that the process may use by default.
        on_step: told how many measurements are done, of how many (0: not known yet), and what
            comes next.

    Returns:
        plain JSON values; see ``BenchResult``.

    Raises:
        UsageError: something that cannot be, or a folder without files of the task.
        BundleError: a bundle is missing or damaged.
        BackendError: a backend that was named cannot run a bundle, or nothing could be measured.
    """
    given = several(bundles) or shipped()
    rounds = whole_of(rounds, "rounds")
    settings = plan.Settings(
        bundles=tuple(str(one.path if isinstance(one, Bundle) else one) for one in given),
        folder=None if folder is None else Path(folder),
        batches=tuple(whole_of(one, "batch") for one in several(batches)),
        backends=tuple(several(backends)),
        device=device,
        size=size,
        axes=dict(axes or {}),
        seconds=seconds_of(seconds, "seconds"),
        rounds=rounds,
        threads=None if threads is None else whole_of(threads, "threads"),
    )
    opened = plan.open_bundles(settings.bundles)
    plan.check_axes(opened, settings.axes)
    files: list[Path] = []
    if settings.folder is not None:
        on_step(0, 0, "reading the folder once")
        files = plan.input_files(settings.folder, plan.one_task(opened).model.suffixes)
        for path in files:
            path.read_bytes()  # so that every round finds the files in the page cache
    ways, left_out = plan.ways(opened, settings, bool(files))
    others = machine.Others()
    # A temporary folder goes away whatever happens, Ctrl-C included.
    with tempfile.TemporaryDirectory(prefix="dlkit-bench-") as scratch:
        jobs = Jobs(settings, Path(scratch), opened, files)
        keys: list[plan.Way | Ceiling] = [Ceiling(), *ways]
        found, errors = measure.interleave(
            keys,
            rounds,
            jobs.run,
            lambda done, key: on_step(done, rounds * len(keys), key.label()),
        )
    busy = others.percent()
    failed = [plan.LeftOut(key.label(), why) for key, why in errors.items()]
    measured = [way for way in ways if way in found]
    if not measured:
        why = "; ".join(f"{out.what}: {out.reason}" for out in failed)
        raise BackendError(f"nothing could be measured: {why}")
    top = rows.ceiling(found[Ceiling()]) if Ceiling() in found else None
    about = {name: rows.about(name, bundle, settings) for name, bundle in opened.items()}
    inference = [
        rows.inference(way, found[way], about[way.name], top) for way in measured if way.batch
    ]
    whole = [
        rows.folder(way, found[way], len(files), inference, top)
        for way in measured
        if not way.batch
    ]
    return {
        "format": FORMAT,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": plan.command_line(settings),
        "settings": {**asdict(settings), "folder": settings.folder and str(settings.folder)},
        "machine": {**machine.describe(), "others_percent": busy},
        "notes": [note for note in (machine.others_note(busy), rows.few_note(whole)) if note],
        "ceiling": top,
        "bundles": list(about.values()),
        "inference": inference,
        "folder": whole,
        "left_out": [{"what": out.what, "reason": out.reason} for out in left_out],
        "failed": [{"what": out.what, "reason": out.reason} for out in failed],
    }
