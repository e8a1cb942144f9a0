"""What ``bench`` shows on the screen: how far it is, and its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from dlkit.bench.groups import Group
    from dlkit.bench.result import BenchResult, FolderRow, WayRow

_WIDE = 110  # columns from which every figure has room


@contextmanager
def progress(console: Console) -> Iterator[Callable[[int, int, str], None]]:
    """A bar, time left, and what is being measured."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns,
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        refresh_per_second=2,
    ) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total or None, description=what)

        yield show


def show(result: BenchResult, console: Console) -> None:
    """Machine, ceiling, tables, and what is missing from them."""
    from rich.markup import escape

    from dlkit.bench import words
    from dlkit.bench.groups import groups

    def say(text: str, style: str = "") -> None:
        console.print(escape(text), style=style or None, highlight=False, soft_wrap=True)

    say(words.machine(result["machine"]))
    top = result["ceiling"]
    if top is not None:
        say(
            f"ceiling: {words.number(top['gflops']['median'])} GFLOP/s float32, "
            f"{words.number(top['copy_gb_s']['median'])} GB/s copied"
        )
        for sample in top["images"]:
            say(
                f"  {sample['what']}: {words.number(sample['decode_per_s']['median'])} decoded/s, "
                f"{words.number(sample['encode_per_s']['median'])} encoded/s"
            )
    for note in result["notes"]:
        say(f"warning: {note}", "yellow")
    wide = console.width >= _WIDE
    for group in groups(result):
        if group.rows:
            console.print(_inference(group, wide))
    if result["folder"]:
        console.print(_folder(result["folder"], wide))
    say(
        "medians of rounds, ± half of lowest to highest; metric as certified by dlkit verify", "dim"
    )
    for out in result["left_out"]:
        say(f"not measured: {out['what']}: {out['reason']}", "dim")
    for out in result["failed"]:
        say(f"failed: {out['what']}: {out['reason']}", "red")


def _inference(group: Group, wide: bool) -> Table:
    from dlkit.bench import words
    from dlkit.bench.groups import shapes

    adds = group.bundles[0]["multiply_adds"]
    title = f"{group.title}, {shapes(group.bundles[0])}"
    title += f", {words.number(2 * adds / 1e9)} GFLOP each" if adds else ""
    percents = ("p50", "p90", "p99") if wide else ("p50", "p99")
    several = len(group.bundles) > 1
    names = [*(["bundle"] if several else []), "backend", "batch", f"{group.sample}s/s", ""]
    names += [f"{name} ms" for name in percents]
    names += ["load s", "peak MB", "of ceiling"] if wide else []
    table = _table(title, [*names, "metric"], group.rows)
    for row in group.rows:
        speed = row["samples_per_s"]
        cells = [group.tags[row["bundle"]]] if several else []
        cells += [f"{row['backend']} {row['device']}", str(row["batch"])]
        cells += [words.number(speed["median"]), words.half_range(speed)]
        cells += [words.milliseconds(row["latency_s"][name]) for name in percents]
        if wide:
            cells += [words.number(row["load_s"]["median"])]
            cells += [words.megabytes(row["peak_bytes"]), words.percent(row["share_of_ceiling"])]
        table.add_row(*cells, words.metrics(row, short=True))
    return table


def _folder(rows: Sequence[FolderRow], wide: bool) -> Table:
    from dlkit.bench import words

    names = ["bundle", "backend", "files/s", "", "running", "of bound"]
    names += ["start s", "whole s", "peak MB"] if wide else []
    title = f"folder to folder, {rows[0]['files']:,} files"
    table = _table(title, [*names, "metric"], rows)
    for row in rows:
        speed, after = row["samples_per_s"], row["samples_per_s_after_start"]
        cells = [row["bundle"], f"{row['backend']} {row['device']}"]
        cells += [words.number(speed["median"]), words.half_range(speed)]
        cells += [words.number(after and after["median"]), words.percent(row["share_of_bound"])]
        if wide:
            seconds = (row["start_s"]["median"], row["seconds"]["median"])
            cells += [*map(words.number, seconds), words.megabytes(row["peak_bytes"])]
        table.add_row(*cells, words.metrics(row, short=True))
    return table


def _table(title: str, names: list[str], rows: Sequence[WayRow]) -> Table:
    """An empty table; what the short metric of a column leaves out is below it."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from dlkit.bench import words

    table = Table(title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.padding, table.collapse_padding, table.pad_edge = (0, 1), True, False
    for name in names:
        left = name in ("backend", "bundle", "metric")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    metrics = dict.fromkeys(words.metrics(row) for row in rows if row["metrics"])
    if len(metrics) == 1:
        table.caption, table.caption_justify = next(iter(metrics)), "left"
    return table
