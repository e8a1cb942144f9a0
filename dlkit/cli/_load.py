"""What ``recognize`` and ``denoise`` share before they begin: the model, and where to write."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from dlkit.runtime.folder import Source


@dataclass(frozen=True)
class Loaded:
    """A model and how to feed it.

    Attributes:
        batch: images that run together.
        chunk: files that a worker takes at once.
        workers: threads that call the session.
    """

    model: Any
    batch: int
    chunk: int
    workers: int

    @property
    def sha256(self) -> str:
        """Of the file that computes."""
        return str(self.model.opened.session.sha256)


def load_model(
    task: str,
    bundle: str,
    backend: str,
    device: str,
    batch: int | None,
    workers: int | None,
    require_certificate: bool,
    sources: Iterable[Source],
    all_processors: bool,
    console: Console,
    chunk: int | None = None,
) -> Loaded:
    """Load the bundle; say what was chosen and what was not, and whether it was verified.

    Args:
        sources: of the inputs; the first ones are counted.
        all_processors: there is enough work for all, whatever ``sources`` holds.
        chunk: files that a worker takes at once; by default some batches, which suits small ones.

    Raises:
        BundleError: a certificate is required, and the file that would run has none.
    """
    from dlkit.errors import BundleError
    from dlkit.runtime.model import TASKS, load
    from dlkit.runtime.processors import cpu_count
    from dlkit.runtime.session import own_arithmetic

    batches = TASKS.load(task).BATCH
    threads = workers or cpu_count()
    # A handful of files is not worth a thread each: the session then gets all processors.
    at_once = chunk or _chunk(batch or batches["cpu"])
    few = sum(1 for _ in itertools.islice(sources, threads * at_once))
    callers = threads if all_processors else max(1, min(threads, -(-few // at_once)))
    model = load(bundle, backend=backend, device=device, task=task, callers=callers)
    session, spec = model.opened.session, model.bundle.spec
    console.print(
        f"{escape(spec.name)} ({spec.precision}) on {session.backend}, {session.device}",
        highlight=False,
    )
    reasons: dict[str, list[str]] = {}
    for name, reason in model.opened.passed_over.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        line = f"  not {', '.join(names)}: {escape(reason)}"
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    other = session.backend if own_arithmetic(session.backend) else None
    if reason := model.bundle.uncertified(session.sha256, other):
        if require_certificate:
            raise BundleError(reason)
        console.print(f"warning: {escape(reason)}", style="yellow", highlight=False, soft_wrap=True)
    together = batch or batches[session.device]
    return Loaded(model, together, chunk or _chunk(together), threads)


def _chunk(batch: int) -> int:
    """Files a worker takes at once: some batches, so that images of one shape find each other."""
    return batch if batch == 1 else 4 * batch


def nothing(inputs: list[Path], kinds: Iterable[str]) -> None:
    """Refuse inputs without a single file.

    Raises:
        InputError: always.
    """
    from dlkit.errors import InputError

    raise InputError(
        f"no images in {', '.join(map(str, inputs))}: expected files that end in "
        + ", ".join(sorted(kinds))
    )


def writable(target: Path) -> None:
    """Find out before the work whether a folder can be written to.

    Raises:
        UsageError: it cannot.
    """
    from dlkit.atomic import atomic_path
    from dlkit.errors import UsageError

    try:
        target.mkdir(parents=True, exist_ok=True)
        with atomic_path(target / "dlkit-probe") as part:
            part.write_bytes(b"")
        (target / "dlkit-probe").unlink()
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written to ({error.strerror}): choose another --out"
        ) from error
