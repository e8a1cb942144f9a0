"""What is measured: every way to run the bundles here, and what is left out and why."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit.bundle import Bundle
from dlkit.errors import BackendError, UsageError
from dlkit.images import SUFFIXES
from dlkit.runtime.model import TASKS
from dlkit.runtime.session import BACKENDS, DEVICES, runnable

# A scan of the article, for graphs that leave height and width free.
SCAN = (678, 384)
_MANY = (1, 16, 64)


@dataclass(frozen=True)
class Settings:
    """What ``dlkit bench`` is asked for.

    Attributes:
        bundles: folders or shipped names.
        folder: images for the task's command; None for inference alone.
        batches: empty for what suits each task.
        backends: empty for all that run here.
        size: height and width where a graph leaves them free.
        seconds: measured time of each way in each round.
        threads: of the backend in inference; None for all that the process may use.
    """

    bundles: tuple[str, ...]
    folder: Path | None = None
    batches: tuple[int, ...] = ()
    backends: tuple[str, ...] = ()
    device: str = "auto"
    size: tuple[int, int] = SCAN
    seconds: float = 1.0
    rounds: int = 3
    threads: int | None = None


@dataclass(frozen=True)
class Way:
    """One way to run one bundle here.

    Attributes:
        name: the bundle's name and precision, see ``open_bundles``.
        batch: images in one call of the session; 0 for the task's command over a folder.
    """

    name: str
    bundle: Bundle = field(hash=False, compare=False)  # its name tells it already
    backend: str
    device: str
    batch: int

    def label(self) -> str:
        """For people."""
        what = f"batch {self.batch}" if self.batch else "folder"
        return f"{self.name}, {self.backend} {self.device}, {what}"


@dataclass(frozen=True)
class LeftOut:
    """Something that is not measured."""

    what: str
    reason: str


def open_bundles(given: Sequence[str]) -> dict[str, Bundle]:
    """Bundles by name and precision, and by place where that is not enough.

    Raises:
        BundleError: one is missing or damaged.
        UsageError: one was named twice.
    """
    opened = [Bundle.open(path) for path in given]
    places = [bundle.path.resolve() for bundle in opened]
    for path, place in zip(given, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"the bundle {path} was given twice: name each once")
    names = [f"{bundle.spec.name} {bundle.spec.precision}" for bundle in opened]
    return {
        name if names.count(name) == 1 else f"{name} {path}": bundle
        for name, path, bundle in zip(names, given, opened, strict=True)
    }


def ways(
    bundles: Mapping[str, Bundle],
    batches: Sequence[int],
    backends: Sequence[str],
    device: str,
    folder: bool,
) -> tuple[list[Way], list[LeftOut]]:
    """Every way that runs here, and what does not, with the reason.

    Args:
        batches: empty for what suits each bundle's task.
        backends: empty for all.
        device: ``cpu``, ``cuda``, or ``auto`` for both.
        folder: also the task's command over a folder.

    Raises:
        UsageError: no such backend, device or batch.
        BackendError: a backend that was named cannot run a bundle, or nothing can.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device '{device}'. There are: {', '.join(DEVICES)}")
    if wrong := [batch for batch in batches if batch < 1]:
        raise UsageError(f"batch is {wrong[0]}, expected 1 or more")
    modules: dict[str, Any] = {name: BACKENDS.load(name) for name in backends or BACKENDS.names()}
    kinds = DEVICES[1:] if device == "auto" else (device,)
    found: list[Way] = []
    left_out: dict[tuple[str, str], list[str]] = {}
    for name, bundle in bundles.items():
        can = set(runnable(bundle))
        for backend, module in modules.items():
            here = [kind for kind in kinds if (backend, kind) in can]
            reasons = {
                kind: str(module.unavailable(bundle, kind))
                for kind in kinds
                if kind not in here and kind in module.DEVICES
            }
            if backends and not here:
                why = "; ".join(reasons.values()) or f"{backend} has no {device}"
                raise BackendError(f"{backend} cannot run {name}: {why}")
            for kind, why in reasons.items():
                left_out.setdefault((f"{backend} {kind}", why), []).append(name)
            for kind in here:
                counts = [*(batches or _suiting(bundle)), *([0] if folder else [])]
                found += [Way(name, bundle, backend, kind, count) for count in counts]
    if not found:
        why = "; ".join(f"{what}: {reason}" for what, reason in left_out)
        raise BackendError(f"nothing here can run {', '.join(bundles)}: {why}")
    return found, [
        LeftOut(what if len(names) == len(bundles) else f"{what} ({', '.join(names)})", why)
        for (what, why), names in left_out.items()
    ]


def command_line(settings: Settings) -> str:
    """The command that repeats it."""
    parts = ["dlkit", "bench", *settings.bundles]
    options: list[tuple[str, object]] = [
        ("--folder", settings.folder),
        ("--batches", ",".join(map(str, settings.batches)) or None),
        *(("--backend", backend) for backend in settings.backends),
        ("--device", None if settings.device == "auto" else settings.device),
        ("--size", None if settings.size == SCAN else "x".join(map(str, settings.size))),
        ("--seconds", f"{settings.seconds:g}"),
        ("--rounds", settings.rounds),
        ("--threads", settings.threads),
    ]
    for name, value in options:
        parts += [name, str(value)] if value is not None else []
    return shlex.join(parts)


def input_shape(bundle: Bundle, batch: int, size: tuple[int, int]) -> tuple[int, ...]:
    """Shape of a batch: free heights and widths become ``size``, padded to what the graph takes."""
    free = iter(size)
    multiple = bundle.spec.multiple_of
    sides = []
    for axis in bundle.spec.input.shape[1:]:
        wanted = next(free)
        sides.append(axis if isinstance(axis, int) else wanted + -wanted % multiple)
    return (batch, *sides)


def gives_images(bundle: Bundle) -> bool:
    """Whether answers are image files; else they are rows of a table."""
    return bundle.spec.output.dtype == "uint8"


def certified(way: Way, sha256: str) -> dict[str, float] | None:
    """Task metrics that ``dlkit verify`` measured on this file and backend; None without."""
    if way.bundle.uncertified(sha256) is not None:
        return None
    for row in way.bundle.certificate.get("measured", []):
        if (row.get("backend"), row.get("device")) == (way.backend, way.device) and (
            row.get("sha256") == sha256
        ):
            return {str(name): float(value) for name, value in row.get("metrics", {}).items()}
    return None


def image_files(folder: Path) -> list[Path]:
    """Image files below a folder, sorted; hidden ones left out, as the commands do.

    Raises:
        UsageError: no folder, or no images in it.
    """
    if not folder.is_dir():
        raise UsageError(f"--folder {folder} is no folder: give one with image files")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        endings = ", ".join(sorted(SUFFIXES))
        raise UsageError(f"no images in --folder {folder}: expected files that end in {endings}")
    return found


def one_task(bundles: Mapping[str, Bundle]) -> str:
    """The task that all bundles serve.

    Raises:
        UsageError: they serve several, and one folder cannot hold the images of all.
    """
    tasks = sorted({bundle.spec.task for bundle in bundles.values()})
    if len(tasks) > 1:
        raise UsageError(
            f"--folder holds the images of one task, these bundles {' and '.join(tasks)}: "
            "run dlkit bench once for each task"
        )
    return tasks[0]


def _suiting(bundle: Bundle) -> Sequence[int]:
    """Batches that tell something: around what the task's command takes."""
    usual = int(TASKS.load(bundle.spec.task).BATCH["cpu"])
    return _MANY if usual >= _MANY[-1] else sorted({1, usual, 4 * usual})
