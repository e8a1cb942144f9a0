"""One file a task: how good bundles of that task are. Each provides

    DATA                           default of ``--data``
    method(model)                  what ``evaluate`` measures, of a model that ``dlkit.load`` gave
    evaluate(methods, request)     a ``Report``; ``methods`` by the names of their rows

``dlkit evaluate`` finds them by the bundle's task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit.plugins import Plugins

EVALUATIONS = Plugins("dlkit.training.evaluations", "evaluation")


def _silent(done: int, total: int, what: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Request:
    """What to evaluate on.

    Attributes:
        data: a dataset's name or folder.
        count: how many images; None for the task's own number.
        seed: of what is made at random; None for the task's own. Denoise: of the first simulated
            pair, counted from where held-out seeds begin.
        slow: how many images the slow classical methods run on; 0 leaves their rows out.
        out: folder for pictures; None makes none.
        progress: called with how much of how much is done, and what is next.
    """

    data: str
    count: int | None = None
    seed: int | None = None
    slow: int = 10
    out: Path | None = None
    progress: Callable[[int, int, str], None] = _silent


@dataclass(frozen=True)
class Table:
    """Figures for a screen: cells as they are shown; the first column is text, others are numbers.

    Attributes:
        totals: how many rows at the end sum up the others.
        words: columns, besides the first, that are text too.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    totals: int = 0
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What came out.

    Attributes:
        settings: how the figures were computed, in words.
        rows: one a method: its name under "method", then means.
        images: one dictionary a method and image.
        details: further figures of a method, by its name.
        tables: what to show; none shows ``rows``.
    """

    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    images: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
