"""What is measured: every way to run the bundles here, and what is left out and why."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlkit.bundle import Bundle
from dlkit.errors import BackendError, UsageError
from dlkit.images import SUFFIXES
from dlkit.runtime.folders.sources import Inputs, ends_in
from dlkit.runtime.session import BACKENDS, DEVICES, Unavailable, load_backend, why_not
from dlkit.tasks import TASKS, Task

# Height and width where a graph leaves them free: a scan of the article.
SCAN = (678, 384)
_MANY = (1, 16, 64)
_FIXED = "its graph has no batch axis"


@dataclass(frozen=True)
class Settings:
    """What ``dlkit bench`` is asked for.

    Attributes:
        bundles: folders or shipped names.
        folder: files for the task's command; None for inference alone.
        batches: empty for what suits each task.
        backends: empty for all that run here.
        size: height and width where a graph leaves them free.
        axes: size of other free axes, by their names in the spec.
        seconds: measured time of each way in each round.
        threads: of the backend in inference; None for all that the process may use.
    """

    bundles: tuple[str, ...]
    folder: Path | None = None
    batches: tuple[int, ...] = ()
    backends: tuple[str, ...] = ()
    device: str = "auto"
    size: tuple[int, int] = SCAN
    axes: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 1.0
    rounds: int = 3
    threads: int | None = None


@dataclass(frozen=True)
class Way:
    """One way to run one bundle here.

    Attributes:
        name: the bundle's name and precision, see ``open_bundles``.
        batch: samples in one call of the session; 0 for the task's command over a folder.
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
            raise UsageError(f"the bundle {path} was given twice", "Name each once")
    names = [f"{bundle.spec.name} {bundle.spec.precision}" for bundle in opened]
    return {
        name if names.count(name) == 1 else f"{name} {path}": bundle
        for name, path, bundle in zip(names, given, opened, strict=True)
    }


def ways(
    bundles: Mapping[str, Bundle], settings: Settings, folder: bool
) -> tuple[list[Way], list[LeftOut]]:
    """Every way that runs here, and what does not, with the reason.

    Args:
        settings: says which batches, backends and devices.
        folder: also the task's command over a folder.

    Raises:
        UsageError: no such backend, device or batch.
        BackendError: a backend that was named cannot run a bundle, or nothing can.
    """
    device = settings.device
    if device not in DEVICES:
        raise UsageError(f"unknown device '{device}'", f"Use one of {', '.join(DEVICES)}")
    names = settings.backends or BACKENDS.names()
    backends = {name: load_backend(name) for name in names}
    kinds = DEVICES[1:] if device == "auto" else (device,)
    found: list[Way] = []
    left_out: dict[tuple[str, str], list[str]] = {}
    for name, bundle in bundles.items():
        counts, never = _batches(bundle, settings.batches)
        if never:
            left_out.setdefault((f"batch {', '.join(map(str, never))}", _FIXED), []).append(name)
        for backend, loaded in backends.items():
            reasons: dict[str, Unavailable] = {}
            for kind in (kind for kind in kinds if kind in loaded.devices):
                why = why_not(loaded, bundle, kind)
                if why is not None:
                    reasons[kind] = why
                    continue
                chosen = [*counts, *([0] if folder else [])]
                found += [Way(name, bundle, backend, kind, count) for count in chosen]
            here = {way.device for way in found if (way.name, way.backend) == (name, backend)}
            if settings.backends and not here:
                first = next(iter(reasons.values()), Unavailable(f"{backend} has no {device}"))
                raise BackendError(f"{backend} cannot run {name}: {first.what}", first.mend)
            for kind, why in reasons.items():
                left_out.setdefault((f"{backend} {kind}", str(why)), []).append(name)
    if not found:
        reason = "; ".join(f"{what}: {why}" for what, why in left_out)
        raise BackendError(f"nothing here can run {', '.join(bundles)}: {reason}")
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
        *(("--axis", f"{axis}={size}") for axis, size in settings.axes.items()),
        ("--seconds", f"{settings.seconds:g}"),
        ("--rounds", settings.rounds),
        ("--threads", settings.threads),
    ]
    for name, value in options:
        parts += [name, str(value)] if value is not None else []
    return shlex.join(parts)


def check_axes(bundles: Mapping[str, Bundle], axes: Mapping[str, int]) -> None:
    """Refuse sizes of axes that no bundle has.

    Raises:
        UsageError: which.
    """
    inputs = [one for bundle in bundles.values() for one in bundle.spec.inputs]
    free = {axis for one in inputs for axis in one.shape if isinstance(axis, str)}
    if strangers := sorted(set(axes) - free):
        raise UsageError(
            f"no bundle has a free axis called {', '.join(strangers)}",
            f"Free axes are: {', '.join(sorted(free)) or 'none'}",
        )


def certified(way: Way, sha256: str) -> dict[str, float] | None:
    """Task metrics that ``dlkit verify`` measured on this file and backend; None without."""
    certificate = way.bundle.certificate
    if certificate is None or way.bundle.uncertified(sha256) is not None:
        return None
    for row in certificate.rows(sha256, way.backend):
        if row.device == way.device:
            return dict(row.metrics)
    return None


def input_files(folder: Path, suffixes: frozenset[str] = SUFFIXES) -> list[Path]:
    """Files below a folder that a command would take, sorted.

    Raises:
        UsageError: no folder, or nothing in it that is wanted.
    """
    if not folder.is_dir():
        raise UsageError(f"--folder {folder} is no folder", "Give one with the task's files")
    found = Inputs([folder], lambda name: ends_in(name, suffixes))()
    files = sorted(Path(source.path) for source in found)
    if not files:
        endings = ", ".join(sorted(suffixes))
        raise UsageError(f"nothing in --folder {folder}, expected files that end in {endings}")
    return files


def one_task(bundles: Mapping[str, Bundle]) -> Task:
    """The task that all bundles serve.

    Raises:
        UsageError: they serve several, and one folder cannot hold the files of all.
    """
    tasks = sorted({bundle.spec.task for bundle in bundles.values()})
    if len(tasks) > 1:
        raise UsageError(
            f"--folder holds the files of one task, these bundles serve {' and '.join(tasks)}",
            "Run dlkit bench once for each task",
        )
    return TASKS.load(tasks[0])


def _batches(bundle: Bundle, wanted: Sequence[int]) -> tuple[Sequence[int], list[int]]:
    """Batches that are measured, and those that the graph does not take.

    By default those that tell something: around what the task's command takes.
    """
    fixed = bundle.spec.fixed_batch
    if fixed is not None:
        return wanted or [fixed], []
    firsts = [one.shape[0] for one in bundle.spec.inputs if one.shape]
    if not any(isinstance(first, str) for first in firsts):
        return [1], [batch for batch in wanted if batch != 1]
    usual = TASKS.load(bundle.spec.task).batch["cpu"]
    return wanted or (_MANY if usual >= _MANY[-1] else sorted({1, usual, 4 * usual})), []
