"""dlkit doctor

``--json`` prints one document. Its keys are the fields of ``dlkit.doctor.examination.Examination``,
described there: machine, driver, driver_version, libraries, bundles, attempts, findings
(``problem`` tells problems from notes); and these:

    format          1; a key that changes its meaning changes it
    dlkit           its version
    ok              no finding is a problem; the exit code is 0
    library_output  lines that libraries printed meanwhile, which are shown nowhere else
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.doctor.examination import Examination, Finding, Library, Machine
    from dlkit.runtime.gpu.driver import Driver

EXAMPLE = "Example:  dlkit doctor runs/lenet_relu/bundle-fp16"

_GIB = 2**30
_YES, _UNTRIED, _NO, _BAD = "+", "~", "-", "!"
_STYLES = {_YES: "green", _NO: "dim", _BAD: "bold red"}


def command(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles to look at: folders, or names of shipped ones.",
            show_default="those that ship with dlkit",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what this machine can run, why not the rest, and how to mend it.

    Exit code 0: no problem. 1: a problem to mend. A missing GPU or optional library is none.
    """
    from rich.console import Console

    from dlkit.doctor import examine

    with _libraries_silent() as printed:
        found = examine(bundles or [])
    if json:
        _print_json(found, printed)
    else:
        _print(found, Console())
    raise typer.Exit(1 if found.problems else 0)


def _print_json(found: Examination, printed: list[str]) -> None:
    import json
    from dataclasses import asdict

    from dlkit import __version__

    data = {
        "format": 1,
        "dlkit": __version__,
        "ok": not found.problems,
        **asdict(found),
        "library_output": printed,
    }
    typer.echo(json.dumps(data, indent=2))


@contextmanager
def _libraries_silent() -> Iterator[list[str]]:
    """Libraries print while they load, also from C; gives the list that their lines end up in."""
    import os
    import sys
    import tempfile

    lines: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    # Two writers share one offset, C's and Python's, so neither may seek: both only write.
    with tempfile.TemporaryFile("w+b", buffering=0) as file:
        for number in kept:
            os.dup2(file.fileno(), number)
        try:
            with (
                os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8") as stream,
                redirect_stdout(stream),
                redirect_stderr(stream),
            ):
                yield lines
        finally:
            for number, copy in kept.items():
                os.dup2(copy, number)
                os.close(copy)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()


def _print(found: Examination, console: Console) -> None:
    if found.machine:
        _machine(found.machine, found.driver, found.driver_version, console)
    _libraries(found.libraries, console)
    _attempts(found, console)
    _bundles(found, console)
    for title, style, findings in (
        ("notes", "bold", found.notes),
        ("problems", "bold red", found.problems),
    ):
        if findings:
            _heading(title, style, console)
            for finding in findings:
                _finding(finding, style, console)
    if not found.problems:
        console.print("\nno problem found", style="bold green")


def _heading(title: str, style: str, console: Console) -> None:
    console.print(f"\n{title}", style=style)


def _rows(rows: Sequence[tuple[str, ...]], console: Console) -> None:
    """Columns, indented; the last one wraps, the others do not."""
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for index in range(len(rows[0])):
        table.add_column(no_wrap=index < len(rows[0]) - 1, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row), style=_STYLES.get(row[0], ""))
    console.print(Padding(table, (0, 0, 0, 2), expand=False), highlight=False)


def _machine(
    machine: Machine, driver: Driver | None, version: str | None, console: Console
) -> None:
    _heading("machine", "bold", console)
    rows = [
        ("Python", f"{machine.python}, {machine.executable}"),
        ("system", machine.system),
        (
            "processor",
            f"{machine.processor}, {machine.cores} cores, {machine.cores_allowed:g} allowed",
        ),
    ]
    if machine.memory:
        allowed = machine.memory_allowed
        limit = f", {allowed / _GIB:.1f} GiB allowed" if allowed else ""
        rows.append(("memory", f"{machine.memory / _GIB:.1f} GiB{limit}"))
    for gpu in driver.gpus if driver else ():
        about = f"{gpu.name}, compute capability {gpu.compute}, {gpu.memory / _GIB:.1f} GiB"
        rows.append(("GPU", about))
    if driver and driver.gpus:
        rows.append(("driver", f"{version or 'version unknown'}, supports CUDA {driver.supports}"))
    elif driver:
        rows.append(("GPU", f"none: {driver.why_none}"))
    _rows(rows, console)


def _libraries(libraries: list[Library], console: Console) -> None:
    if not libraries:
        return
    legend = "+ imports  ~ installed, import not tried  - missing  ! broken"
    console.print(f"\n[bold]libraries[/]  [dim]{legend}[/]", highlight=False)
    rows = []
    for library in libraries:
        other = [name for name in library.wheels if name.partition(" ")[0] != library.module]
        about = ", ".join(other) or library.version or ""
        mark = _YES if library.imports else _UNTRIED
        if library.version is None:
            mark, about = _NO, f"missing; to {library.purpose}: {library.install}"
        elif library.error:
            mark, about = _BAD, f"{about} does not import: {library.error}"
        rows.append((mark, library.module, about))
    _rows(rows, console)


def _attempts(found: Examination, console: Console) -> None:
    merged: dict[tuple[str, str, bool, str], list[str]] = {}
    for one in found.attempts:
        reason = ". ".join(text for text in (one.reason, one.mend) if text)
        merged.setdefault((one.backend, one.device, one.runs, reason), []).append(one.bundle)
    rows = []
    for (backend, device, runs, reason), bundles in merged.items():
        names = ", ".join(bundles)
        if not runs:
            names = _short(reason)
            if len(bundles) < len(found.bundles):
                names = f"{', '.join(bundles)}: {names}"
        rows.append((_YES if runs else _NO, backend, device, names))
    if rows:
        _heading("what runs", "bold", console)
        _rows(rows, console)


def _bundles(found: Examination, console: Console) -> None:
    rows = []
    for bundle in found.bundles:
        engines = f"{len(bundle.engines) or 'no'} engine{'' if len(bundle.engines) == 1 else 's'}"
        verified = "verified" if bundle.verified else "not verified"
        rows.append((bundle.name, f"{bundle.task}, {bundle.precision}, {verified}, {engines}"))
        for engine in bundle.engines:
            mark = _YES if engine.fits else _NO
            rows.append(("", f"{mark} {engine.file}"))
    if rows:
        _heading("bundles", "bold", console)
        _rows(rows, console)


def _short(text: str, most: int = 220) -> str:
    """A long message without its middle."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def _finding(finding: Finding, style: str, console: Console) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    text = f"[{style}]{escape(finding.about)}[/]: {escape(_short(finding.what, 400))}"
    console.print(Padding(text, (0, 0, 0, 2), expand=False), highlight=False)
    if finding.mend:
        # Not wrapped: a command must survive being copied.
        console.print(f"    mend: {escape(finding.mend)}", highlight=False, soft_wrap=True)


command.__name__ = "doctor"
