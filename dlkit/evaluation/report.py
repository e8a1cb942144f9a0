"""Evaluation: how good bundles of a task are; what is asked, and what comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from dlkit.tasks import Model

# Called with how much of how much is done, and what is next.
ShowDone: TypeAlias = Callable[[int, int, str], None]


def no_show(done: int, total: int, what: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Request:
    """What to evaluate on.

    Attributes:
        data: a dataset's name or folder; None for the task's own.
        count: how many samples; None for the task's own number.
        seed: of what is made at random; None for the task's own. Denoise: of the first simulated
            pair, counted from where held-out seeds begin.
        slow: how many images the slow classical methods run on; 0 leaves their rows out.
        out: folder for pictures; None makes none.
        show: called with how far it is.
    """

    data: str | None = None
    count: int | None = None
    seed: int | None = None
    slow: int = 10
    out: Path | None = None
    show: ShowDone = no_show


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
        models: of each bundle, by the name of its row: path, hash, backend and device.
    """

    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    images: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    models: dict[str, dict[str, str]] = field(default_factory=dict)


class Evaluation(ABC):
    """How bundles of a task are evaluated: a value, ``EVALUATION``, of the module that
    ``Task.evaluation`` names.

    Attributes:
        about: what is measured, for people.
    """

    about: ClassVar[str] = ""

    @abstractmethod
    def evaluate(self, models: Mapping[str, Model[Any, Any, Any]], request: Request) -> Report:
        """Measure loaded bundles.

        Args:
            models: by the names of their rows.

        Raises:
            BundleError: bundles that cannot be evaluated, or not beside each other.
            InputError: the data cannot be read, or a model gives no answer.
            UsageError: no data was named, and the task has none.
        """
