"""Which digit is taken for which, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlkit.atomic import atomic_path


def draw_confusion(counts: NDArray[np.int64], path: Path) -> None:
    """A matrix as ``classification.confusion`` gives it, as PNG.

    Only mistakes are coloured, or the right answers would outshine them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MultipleLocator

    wrong = counts.astype(float)
    wrong[range(len(wrong)), range(len(wrong))] = 0
    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    panel.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1.0, wrong.max()))
    for row, column in [(r, c) for r in range(len(counts)) for c in range(len(counts))]:
        if counts[row, column]:
            dark = wrong[row, column] > wrong.max() / 2
            panel.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8,
                       color="white" if dark else "black")  # fmt: skip
    right = counts.trace() / max(1, counts.sum())
    panel.set_title(f"{right:.2%} of {counts.sum():,} right", fontsize=10)
    panel.set_xlabel("taken for")
    panel.set_ylabel("is")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_locator(MultipleLocator(1))
    with atomic_path(path) as part:
        figure.savefig(part, dpi=100, format="png")
