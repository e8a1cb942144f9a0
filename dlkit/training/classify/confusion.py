"""Which class is taken for which, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.atomic import atomic_path

_WITH_NUMBERS = 40  # classes that have room for them


def draw_confusion(counts: NDArray[np.int64], path: Path, classes: Sequence[str]) -> None:
    """A matrix as ``scores.confusion`` gives it, as PNG, beside the names of its classes."""
    right = counts.trace() / max(1, counts.sum())
    draw_confusions({f"{right:.2%} of {counts.sum():,} right": counts}, path, classes)


def draw_confusions(
    matrices: Mapping[str, NDArray[np.int64]], path: Path, classes: Sequence[str]
) -> None:
    """Several of the same classes, side by side, each under its title.

    Only mistakes are coloured, or the right answers would outshine them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    side = max(5.0, 0.32 * len(classes)) if len(classes) <= _WITH_NUMBERS else 12.0
    figure = Figure(figsize=((side + 0.2) * len(matrices), side), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(matrices), squeeze=False)[0]
    for panel, (title, counts) in zip(panels, matrices.items(), strict=True):
        _draw(panel, title, counts, classes)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=100, format="png")


def _draw(panel: Any, title: str, counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    wrong = counts.astype(float)
    wrong[range(len(wrong)), range(len(wrong))] = 0
    few = len(counts) <= _WITH_NUMBERS
    panel.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1.0, wrong.max()))
    for row, column in np.argwhere(counts):
        if few:
            dark = wrong[row, column] > wrong.max() / 2
            panel.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                       color="white" if dark else "black")  # fmt: skip
    panel.set_title(title, fontsize=10)
    panel.set_xlabel("taken for")
    panel.set_ylabel("is")
    if few:
        turned = 90 if max(map(len, classes)) > 2 else 0
        panel.set_xticks(range(len(classes)), classes, rotation=turned)
        panel.set_yticks(range(len(classes)), classes)
