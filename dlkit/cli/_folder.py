"""What ``recognize`` and ``denoise`` share: run a folder, show how far it is, sum up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

_FAILURES_SHOWN = 20


def load_model(
    task: str, bundle: str, backend: str, device: str, require_certificate: bool, console: Console
) -> Any:
    """Load the bundle; say what was chosen and what was not, and whether it was verified.

    Raises:
        BundleError: a certificate is required, and the file that would run has none.
    """
    from dlkit.errors import BundleError
    from dlkit.runtime.model import load

    model = load(bundle, backend=backend, device=device, task=task)
    session, spec = model.opened.session, model.bundle.spec
    console.print(
        f"{escape(spec.name)} ({spec.precision}) on {session.backend}, {session.device}",
        highlight=False,
    )
    for name, reason in model.opened.passed_over.items():
        console.print(
            f"  not {name}: {escape(reason)}", style="dim", highlight=False, soft_wrap=True
        )
    if reason := model.bundle.uncertified(session.sha256):
        if require_certificate:
            raise BundleError(reason)
        console.print(f"warning: {escape(reason)}", style="yellow", highlight=False, soft_wrap=True)
    return model


def run(
    inputs: list[Path],
    ignore: Path | None,
    results: Callable[[Iterator[Any]], Iterator[Any]],
    console: Console,
) -> int:
    """Run every input file through ``results``; gives the exit code.

    Args:
        ignore: a folder that is not searched: where the output goes.
        results: turns sources into results, lazily.
    """
    from dlkit.errors import InputError
    from dlkit.runtime import folder

    total = folder.count(folder.sources(inputs, ignore))
    if total == 0:
        raise InputError(
            f"no images in {', '.join(map(str, inputs))}: expected files that end in "
            + ", ".join(sorted(_suffixes()))
        )
    failures: list[tuple[Path, str]] = []
    begun = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} images/s"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("running", total=total, rate=0.0)
        stream = results(folder.sources(inputs, ignore))
        shown = begun
        done = 0
        try:
            for done, result in enumerate(stream, 1):
                if result.error is not None:
                    failures.append((result.source.path, str(result.error)))
                if (now := time.monotonic()) - shown > 0.1:
                    progress.update(bar, completed=done, rate=done / (now - begun))
                    shown = now
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()  # waits for files that are being written
    seconds = max(time.monotonic() - begun, 1e-9)
    for path, error in failures[:_FAILURES_SHOWN]:
        text = error if str(path) in error else f"{path}: {error}"
        console.print(f"failed: {escape(text)}", style="red", highlight=False, soft_wrap=True)
    if len(failures) > _FAILURES_SHOWN:
        console.print(f"... and {len(failures) - _FAILURES_SHOWN} more failed", style="red")
    console.print(
        f"{done - len(failures)} done, {len(failures)} failed, "
        f"{seconds:.1f} s, {done / seconds:.0f} images/s",
        highlight=False,
    )
    return 1 if failures else 0


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


def _suffixes() -> frozenset[str]:
    from dlkit.images import SUFFIXES

    return SUFFIXES
