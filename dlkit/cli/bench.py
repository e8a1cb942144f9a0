"""dlkit bench"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlkit.cli import _options

if TYPE_CHECKING:
    from dlkit.bench.plan import Settings

EXAMPLE = (
    "Examples:  dlkit bench  |  dlkit bench digits --batches 1,256 --html digits.html  |  "
    "dlkit bench mmwave runs/mine/bundle-fp16 --folder scans/ --json speed.json  |  "
    "dlkit bench digits --budget p99=20ms"
)


def command(
    bundles: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles: folders, or names of shipped ones.", show_default="all that ship"
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Also run the task's command over these files, end to end."),
    ] = None,
    batches: Annotated[
        str,
        typer.Option(help="Samples in one call, e.g. 1,16,64.", show_default="what suits the task"),
    ] = "",
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Measured time of each way in each round.")
    ] = 1.0,
    rounds: Annotated[
        int, typer.Option(min=1, max=_options.COUNT, help="Rounds over all ways.")
    ] = 3,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="Only this backend; may be repeated.", show_default="all that run here"),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto for both.")] = "auto",
    size: Annotated[
        str, typer.Option(help="HEIGHTxWIDTH where a graph leaves them free.")
    ] = "678x384",
    axis: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=SIZE of another free axis of a graph; may be repeated.",
            show_default="128",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=_options.THREADS,
            help="CPU threads of inference alone.",
            show_default="all that may be used",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="p99=20ms: find how to serve the model that gives most images a second within it.",
            show_default=False,
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to this file.")
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", help="Write a report with charts: one file, no network."),
    ] = None,
    overwrite: _options.Replace = False,
) -> None:
    """Measure speed, latency and memory here, beside the task metric and the machine's ceiling.

    With --budget the bundles are forms of one model. Each is served on this machine in several
    ways, under load, and the dlkit serve line of the best is printed.
    """
    import json

    from rich.console import Console

    from dlkit.atomic import write_bytes
    from dlkit.bench.plan import Settings
    from dlkit.bench.run import bench
    from dlkit.cli import _bench
    from dlkit.errors import UsageError

    _can_be_written(json_file, "--json", overwrite)
    _can_be_written(html_file, "--html", overwrite)
    if budget is not None:
        if folder or html_file or threads:
            raise UsageError("--folder, --html and --threads do not go with --budget")
        settings = Settings(
            bundles=tuple(bundles or ()),
            batches=_numbers(batches),
            backends=tuple(backend or ()),
            device=device,
            size=_size(size),
            axes=_axes(axis or []),
            seconds=seconds,
            rounds=rounds,
        )
        raise typer.Exit(_within(budget, settings, json_file))
    with _bench.progress(Console(stderr=True)) as show:
        result = bench(
            bundles or (),
            folder=folder,
            batches=_numbers(batches),
            backends=backend or (),
            device=device,
            size=_size(size),
            axes=_axes(axis or []),
            seconds=seconds,
            rounds=rounds,
            threads=threads,
            on_step=show,
        )
    _bench.show(result, Console())
    if json_file is not None:
        write_bytes(json_file, (json.dumps(result, indent=2) + "\n").encode())
        typer.echo(json_file)
    if html_file is not None:
        from dlkit.bench.report import html

        write_bytes(html_file, html(result).encode())
        typer.echo(html_file)
    raise typer.Exit(1 if result["failed"] else 0)


def _within(text: str, settings: Settings, json_file: Path | None) -> int:
    """Search, show, and print the line that serves the best; gives the exit code."""
    import json
    import tempfile

    from rich.console import Console

    from dlkit.atomic import write_bytes
    from dlkit.bench import budget as search
    from dlkit.bench import plan
    from dlkit.bench.trial import Bench
    from dlkit.cli import _bench, _budget
    from dlkit.errors import UsageError

    budget = search.Budget.parse(text)
    if not settings.bundles:
        raise UsageError("--budget needs a bundle, or several forms of one", "E.g. digits")
    opened = plan.open_bundles(settings.bundles)
    plan.check_axes(opened, settings.axes)
    begin, left_out = search.starts(opened, settings)
    with (
        tempfile.TemporaryDirectory(prefix="dlkit-bench-") as scratch,
        _bench.progress(Console(stderr=True)) as show,
    ):
        bench = Bench(budget, settings.seconds, settings.size, settings.axes, Path(scratch))
        done = 0

        def measure(setting: search.Setting) -> search.Trial:
            nonlocal done
            show(done, 0, setting.label())
            done += 1
            return bench.measure(setting)

        found, trials = search.search(begin, budget, measure, settings.rounds, settings.batches)
    _budget.show(budget, found, trials, left_out, Console())
    if json_file is not None:
        result = search.to_json(budget, found, trials, left_out)
        write_bytes(json_file, (json.dumps(result, indent=2) + "\n").encode())
        typer.echo(json_file)
    if found is None:
        Console(stderr=True).print(f"nothing answers {budget}", style="red", highlight=False)
        return 1
    given = dict(zip(opened, settings.bundles, strict=True))[found.setting.name]
    typer.echo(_budget.serve_line(found.setting, given))
    return 0


def _can_be_written(target: Path | None, option: str, overwrite: bool) -> None:
    """Find out before minutes of measuring, not after.

    Raises:
        UsageError: the file is there already, or a folder.
        MachineError: it cannot be written there.
    """
    from dlkit.atomic import check_file, check_new, check_writable

    if target is None:
        return
    check_file(target, option)
    check_new(target, overwrite, option)
    check_writable(target.parent, option)


def _numbers(text: str) -> tuple[int, ...]:
    from dlkit.errors import UsageError

    try:
        found = tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        found = (0,)
    if any(number < 1 for number in found):
        raise UsageError(f"--batches is '{text}', expected whole numbers from 1, such as 1,16,64")
    return tuple(dict.fromkeys(found))


def _size(text: str) -> tuple[int, int]:
    from dlkit.errors import UsageError

    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise UsageError(f"--size is '{text}', expected HEIGHTxWIDTH, such as 678x384")
    return int(height), int(width)


def _axes(texts: list[str]) -> dict[str, int]:
    from dlkit.errors import UsageError

    found = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not size.isdecimal() or int(size) < 1:
            raise UsageError(f"--axis is '{text}', expected NAME=SIZE, such as length=512")
        found[name] = int(size)
    return found


command.__name__ = "bench"
