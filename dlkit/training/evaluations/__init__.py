"""One file a task: how good bundles of that task are. Each provides

    DATA                           default of ``--data``
    evaluate(methods, request)     a ``Report``; ``methods`` name functions from image to answer

``dlkit evaluate`` finds them by the bundle's task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlkit.plugins import Plugins

EVALUATIONS = Plugins("dlkit.training.evaluations", "evaluation")


@dataclass(frozen=True)
class Request:
    """What to evaluate on.

    Attributes:
        data: a dataset's name or folder.
        count: how many images, where they are made.
        seed: of the first, counted from where held-out seeds begin.
        slow: how many images the slow classical methods run on; 0 leaves their rows out.
        out: folder for pictures; None makes none.
    """

    data: str
    count: int = 200
    seed: int = 10_000
    slow: int = 10
    out: Path | None = None


@dataclass(frozen=True)
class Report:
    """What came out.

    Attributes:
        settings: how the figures were computed, in words.
        rows: one a method: its name under "method", then means.
        images: one dictionary a method and image.
    """

    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    images: list[dict[str, Any]] = field(default_factory=list)
