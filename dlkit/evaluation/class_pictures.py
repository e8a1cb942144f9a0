"""Pictures of an evaluation of classifiers, as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.atomic import atomic_path
from dlkit.evaluation.report import Report
from dlkit.images import UInt8
from dlkit.training.classify.confusion import draw_confusions

_WORST, _ACROSS = 32, 8  # mistakes in the picture, in a row of it
_SAMPLES = 12  # non-digits of a kind
_BLUE, _GREY = "#1f5fa8", "#9aa4b0"
_COLOURS = (_BLUE, "#d1702b", "#3c8d5a", "#8b5fa8", "#7f7f7f")


def draw_classes(report: Report, images: UInt8, folder: Path) -> None:
    """confusion.png, reliability.png and mistakes.png.

    Args:
        images: uint8 (N, H, W) grey or (N, H, W, 3) RGB, what was asked.
    """
    matrices = {
        f"{row['method']}: {row['images'] - row['right']} of {row['images']:,} wrong": np.array(
            report.details[row["method"]]["confusion"], np.int64
        )
        for row in report.rows
    }
    draw_confusions(matrices, folder / "confusion.png", report.settings["classes"])
    _reliability(report, folder / "reliability.png")
    _mistakes(report, images, folder / "mistakes.png")


def draw_digits(
    report: Report,
    corrupted: Mapping[str, UInt8],
    labels: NDArray[Any],
    non_digits: Mapping[str, UInt8],
    folder: Path,
) -> None:
    """robustness.png and non_digits.png.

    Args:
        corrupted: uint8 (N, 28, 28) by corruption, the clean ones first.
        labels: (N,) of the digits.
        non_digits: uint8 (M, 28, 28) by kind.
    """
    first = [int(index) for index in np.unique(labels, return_index=True)[1]]  # of each digit
    strips = {name: np.hstack(list(images[first])) for name, images in corrupted.items()}
    right = {
        row["method"]: [
            row["accuracy"],
            *(one["accuracy"] for one in report.details[row["method"]]["robustness"].values()),
        ]
        for row in report.rows
    }
    _strips(strips, right, "accuracy, %", folder / "robustness.png")
    samples = {kind: np.hstack(list(images[:_SAMPLES])) for kind, images in non_digits.items()}
    sure = {
        name: [value["above_50"] for value in one["non_digits"].values()]
        for name, one in report.details.items()
    }
    _strips(samples, sure, "taken for a digit with a probability above 0.5, %",
            folder / "non_digits.png")  # fmt: skip


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with atomic_path(path) as part:
        figure.savefig(part, dpi=100, format="png")


def _reliability(report: Report, path: Path) -> None:
    """Accuracy over confidence, above a histogram of confidence, which says what the bins weigh."""
    figure = _figure(4.4 * len(report.rows), 5.0)
    panels = figure.subplots(
        2, len(report.rows), squeeze=False, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    for column, row in enumerate(report.rows):
        upper, lower = panels[:, column]
        every = report.details[row["method"]]["reliability"]
        bins = [one for one in every if one["count"]]
        low = np.array([one["low"] for one in bins])
        width = every[0]["high"]
        accuracy = np.array([one["accuracy"] for one in bins])
        confidence = np.array([one["confidence"] for one in bins])
        upper.bar(low, accuracy, width, align="edge", color=_BLUE, alpha=0.75, edgecolor="white")
        upper.plot([0, 1], [0, 1], "--", color=_GREY)
        upper.plot(confidence, accuracy, "o", color="black", markersize=3)
        upper.set(xlim=(0, 1), ylim=(0, 1.02))
        upper.set_ylabel("accuracy")
        upper.set_title(f"{row['method']}: ECE {100 * row['ece']:.2f} %", fontsize=10)
        counts = [one["count"] for one in bins]
        lower.bar(low, counts, width, align="edge", color=_GREY, edgecolor="white")
        lower.set_yscale("log")
        lower.set_ylim(bottom=0.5)
        lower.set(xlabel="probability of the answer", ylabel="images")
    _save(figure, path)


def _mistakes(report: Report, images: UInt8, path: Path) -> None:
    """The surest wrong answers of each method."""
    blocks = []
    for row in report.rows:
        found = [one for one in report.images if one["method"] == row["method"]]
        lines = max(1, -(-len(found[:_WORST]) // _ACROSS))
        blocks.append((row["method"], found, lines))
    heights = [0.5 + 1.45 * lines for _, _, lines in blocks]
    figure = _figure(1.25 * _ACROSS, sum(heights))
    parts = figure.subfigures(len(blocks), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, (name, found, lines) in zip(parts, blocks, strict=True):
        which = "all" if len(found) <= _WORST else f"the surest {_WORST} of"
        part.suptitle(f"{name}: {which} {len(found)} mistakes (truth → answer, its probability)"
                      if found else f"{name}: no mistakes", fontsize=11)  # fmt: skip
        panels = part.subplots(lines, _ACROSS, squeeze=False).ravel()
        for panel in panels:
            panel.axis("off")
        for panel, one in zip(panels, found[:_WORST], strict=False):
            panel.imshow(images[one["image"]], cmap="gray", vmin=0, vmax=255)
            sure = 100 * one["probability"]
            names = (report.settings["classes"][one[what]] for what in ("truth", "answer"))
            panel.set_title(f"{' → '.join(names)}  {sure:.2f} %", fontsize=9)
    _save(figure, path)


def _strips(
    strips: Mapping[str, UInt8], shares: Mapping[str, list[float]], title: str, path: Path
) -> None:
    """Rows of examples, and bars beside them: one a method."""
    figure = _figure(10, 0.8 + 0.36 * len(strips) * max(1, 0.5 + 0.3 * len(shares)))
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": [1.15, 1]})
    width = next(iter(strips.values())).shape[1]
    left.imshow(
        np.vstack(list(strips.values())), cmap="gray", vmin=0, vmax=255, aspect="auto",
        extent=(0, width, len(strips) - 0.5, -0.5),
    )  # fmt: skip
    left.set_xticks([])
    left.set_yticks(range(len(strips)), [name.replace("_", " ") for name in strips], fontsize=9)
    thick = 0.8 / len(shares)
    for index, (name, values) in enumerate(shares.items()):
        place = np.arange(len(strips)) - 0.4 + (index + 0.5) * thick
        percent = 100 * np.array(values)
        bars = right.barh(place, percent, 0.9 * thick, color=_COLOURS[index % 5], label=name)
        right.bar_label(bars, [f"{value:.1f}" for value in percent], fontsize=7, padding=2)
    right.set_xlim(0, 112)
    right.tick_params(left=False)
    right.set_title(title, fontsize=10)
    for side in ("top", "right", "left"):
        right.spines[side].set_visible(False)
    right.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.02 - 1.2 / len(strips)),
                 ncols=3, frameon=False)  # fmt: skip
    _save(figure, path)
