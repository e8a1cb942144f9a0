"""From settings to a result: what was measured, where, and against which ceiling."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dlkit.bench import machine, measure, plan, rows
from dlkit.bench.jobs import Ceiling, Jobs
from dlkit.errors import BackendError

FORMAT = 1
Result = dict[str, Any]
Progress = Callable[[int, int, str], None]


def bench(settings: plan.Settings, progress: Progress = lambda *_: None) -> Result:
    """Measure everything that the settings ask for.

    Args:
        progress: told how many measurements are done, of how many (0: not known yet), and what
            comes next.

    Raises:
        DlkitError: wrong settings, or nothing could be measured.
    """
    bundles = plan.open_bundles(settings.bundles)
    files: list[Path] = []
    if settings.folder is not None:
        plan.one_task(bundles)
        progress(0, 0, "reading the folder once")
        files = plan.image_files(settings.folder)
        for path in files:
            path.read_bytes()  # so that every round finds the files in the page cache
    ways, left_out = plan.ways(
        bundles, settings.batches, settings.backends, settings.device, bool(files)
    )
    others = machine.Others()
    # A temporary folder goes away whatever happens, Ctrl-C included.
    with tempfile.TemporaryDirectory(prefix="dlkit-bench-") as scratch:
        jobs = Jobs(settings, Path(scratch), bundles, files)
        keys: list[plan.Way | Ceiling] = [Ceiling(), *ways]
        found, errors = measure.interleave(
            keys,
            settings.rounds,
            jobs.run,
            lambda done, key: progress(done, settings.rounds * len(keys), key.label()),
        )
    busy = others.percent()
    failed = [plan.LeftOut(key.label(), why) for key, why in errors.items()]
    measured = [way for way in ways if way in found]
    if not measured:
        why = "; ".join(f"{out.what}: {out.reason}" for out in failed)
        raise BackendError(f"nothing could be measured: {why}")
    top = rows.ceiling(found[Ceiling()]) if Ceiling() in found else None
    about = {name: rows.about(name, bundle, settings) for name, bundle in bundles.items()}
    inference = [
        rows.inference(way, found[way], about[way.name], top) for way in measured if way.batch
    ]
    folder = [
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
        "notes": [note for note in (machine.others_note(busy), rows.few_note(folder)) if note],
        "ceiling": top,
        "bundles": list(about.values()),
        "inference": inference,
        "folder": folder,
        "left_out": [asdict(out) for out in left_out],
        "failed": [asdict(out) for out in failed],
    }
