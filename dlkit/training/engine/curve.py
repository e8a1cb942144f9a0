"""The training curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlkit.atomic import atomic_path

_PANEL, _HEIGHT = 4.2, 3.2  # inches
_NOT_CURVES = {"event", "epoch", "step", "seconds"}


def draw_curve(entries: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One panel a quantity over the epochs, from the log's entries, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [entry for entry in entries if entry["event"] == "epoch"]
    names = list(dict.fromkeys(key for entry in epochs for key in entry if key not in _NOT_CURVES))
    width = _PANEL * len(names)
    figure = Figure(figsize=(width, _HEIGHT))
    FigureCanvasAgg(figure)
    # margins of our own: matplotlib's layouts draw everything several times to find them
    room = {"left": 0.65 / width, "right": 1 - 0.15 / width, "bottom": 0.16, "top": 0.9}
    panels = figure.subplots(1, len(names), squeeze=False, gridspec_kw={**room, "wspace": 0.25})[0]
    for panel, name in zip(panels, names, strict=True):
        points = [(entry["epoch"], entry[name]) for entry in epochs if name in entry]
        panel.plot(*zip(*points, strict=True), marker="o", markersize=3)
        panel.set_title(f"{name}, last {points[-1][1]:.4g}", fontsize=10)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
    with atomic_path(path) as part:
        figure.savefig(part, dpi=100, format="png")
