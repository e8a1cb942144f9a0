"""``dlkit bench --budget``: what it shows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from dlkit.bench.budget import Budget, Setting, Trial
    from dlkit.bench.plan import LeftOut


def serve_line(setting: Setting, given: str) -> str:
    """The command that serves it so.

    Args:
        given: the bundle as it was named.
    """
    return shlex.join(["dlkit", "serve", given, *setting.arguments()])


def show(
    budget: Budget,
    winner: Trial | None,
    trials: Sequence[Trial],
    left_out: Sequence[LeftOut],
    console: Console,
) -> None:
    """All that was tried, best first, and why the others lost."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    from dlkit.bench import words
    from dlkit.bench.budget import why_not

    several = len({trial.setting.name for trial in trials}) > 1
    table = Table(
        title=f"{budget}, one image a request", title_justify="left", title_style="bold",
        box=SIMPLE_HEAD, pad_edge=False,
    )  # fmt: skip
    names = [*(["bundle"] if several else []), "backend", "batch", "delay", "workers", "clients"]
    for name in (*names, "images/s", f"{budget.percentile} ms", ""):
        left = name in ("bundle", "backend", "")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "")
    for trial in trials:
        one, load = trial.setting, trial.load
        cells = [escape(one.name)] if several else []
        cells += [one.backend if one.device == "cpu" else f"{one.backend} {one.device}"]
        cells += [str(one.batch), f"{one.delay * 1000:g}", str(one.workers)]
        if load is None:
            cells += [""] * 3
        else:
            spent = getattr(load, budget.percentile)
            cells += [str(load.clients), words.number(load.rate), words.milliseconds(spent)]
        why = "best" if trial is winner else why_not(trial, winner, budget)
        style = "bold" if trial is winner else None if trial.rate(budget) else "dim"
        table.add_row(*cells, escape(why), style=style)
    console.print(table)
    for out in left_out:
        text = f"not measured: {out.what}: {out.reason}"
        console.print(escape(text), style="dim", highlight=False, soft_wrap=True)
