"""Turns what is to be measured into jobs of worker.py."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlkit import images
from dlkit.bench import calls, machine, measure, plan
from dlkit.bundle import Bundle
from dlkit.processors import cpu_count
from dlkit.tasks import TASKS, Task

# Of a folder, to measure decoding and encoding on: so many that one file after the other is new to
# the processor's caches, as in a real run; a few small ones over and over decode faster.
_SAMPLED_FILES = 2000
_SAMPLED_BYTES = 16 << 20
_MADE_UP_FILES = 16  # where there is no folder
# The ceiling is measured in every round; half a second is enough for its best call.
_CEILING_SECONDS = 0.5


@dataclass(frozen=True)
class Ceiling:
    """The key of the machine's own rates among the ways."""

    def label(self) -> str:
        """For people."""
        return "the machine's ceiling"


class Jobs:
    """Does what a key of the plan stands for, each time in a fresh process.

    Attributes:
        files: of ``--folder``; empty without.
        samples: images to measure decoding and encoding on, by what they are; empty where the
            bundles take none.
    """

    def __init__(
        self,
        settings: plan.Settings,
        scratch: Path,
        bundles: Mapping[str, Bundle],
        files: Sequence[Path],
    ) -> None:
        self.files = files
        self._settings = settings
        self._scratch = scratch
        self._outputs = itertools.count()
        images_only = {
            name: bundle for name, bundle in bundles.items() if calls.takes_images(bundle.spec)
        }
        self.samples: dict[str, list[Path]] = {}
        if images_only:
            made = _of_folder(files) if files else _made_up(settings, scratch, images_only)
            self.samples = made

    def run(self, key: plan.Way | Ceiling) -> Mapping[str, Any]:
        """One measurement."""
        if isinstance(key, Ceiling):
            return measure.in_process(
                {
                    "job": "ceiling",
                    "threads": cpu_count(),
                    "seconds": min(self._settings.seconds, _CEILING_SECONDS),
                    "images": {what: list(map(str, files)) for what, files in self.samples.items()},
                }
            )
        if key.batch == 0:
            return self._command(key)
        return measure.in_process(
            {
                "job": "session",
                "bundle": str(key.bundle.path),
                "backend": key.backend,
                "device": key.device,
                "threads": self._settings.threads or cpu_count(),
                "batch": key.batch,
                "size": self._settings.size,
                "axes": dict(self._settings.axes),
                "seconds": self._settings.seconds,
            }
        )

    def _command(self, way: plan.Way) -> Mapping[str, Any]:
        """The task's command over one file, which is start-up alone, and over the folder."""
        one = self._scratch / "one"
        if not one.exists():
            one.mkdir()
            shutil.copy(self.files[0], one)
        assert self._settings.folder is not None
        start = self._once(way, one)
        if "error" in start:
            return start
        return {**self._once(way, self._settings.folder), "start_s": start["process_s"]}

    def _once(self, way: plan.Way, folder: Path) -> Mapping[str, Any]:
        # a new place each time: a second run into the same one may have nothing left to do
        where = self._scratch / f"out-{next(self._outputs)}"
        where.mkdir()
        # A table's name; commands that give a file for every file make it a folder.
        options = ["--out", str(where / "answers.csv")]
        options += ["--backend", way.backend, "--device", way.device]
        bundle = str(way.bundle.path.resolve())
        command = TASKS.load(way.bundle.spec.task).command
        given = (
            [bundle, str(folder)] if command == Task.command else [str(folder), "--model", bundle]
        )
        try:
            return measure.in_process({"job": "command", "arguments": [command, *given, *options]})
        finally:
            shutil.rmtree(where, ignore_errors=True)


def _of_folder(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Some files from all over the folder."""
    some = files[:: -(-len(files) // 64)]
    usual = sum(path.stat().st_size for path in some) / len(some)
    most = min(_SAMPLED_FILES, max(len(some), int(_SAMPLED_BYTES / max(usual, 1))))
    chosen = list(files[:: -(-len(files) // most)])
    return {f"{len(chosen):,} of the folder's files": chosen}


def _made_up(
    settings: plan.Settings, scratch: Path, bundles: Mapping[str, Bundle]
) -> dict[str, list[Path]]:
    found = {}
    for bundle in bundles.values():
        shape = calls.input_shapes(bundle.spec, 1, settings.size)[bundle.spec.input.name]
        height, width = shape[1:3]
        paths = [scratch / f"{height}x{width}" / f"{seed}.png" for seed in range(_MADE_UP_FILES)]
        for seed, path in enumerate(paths):
            images.write(path, machine.sample_image(height, width, seed))
        found[f"grey PNG of {height}x{width}, made up"] = paths
    return found
