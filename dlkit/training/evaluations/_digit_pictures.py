"""Pictures of an evaluation of digits, as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.atomic import atomic_path
from dlkit.images import Pixels
from dlkit.training.evaluations import Report

_WORST, _ACROSS = 32, 8  # mistakes in the picture, in a row of it
_SAMPLES = 12  # non-digits of a kind
_FEW = 8  # a mistake that happened once is shaded as an eighth of the full colour at most
_BLUE, _GREY = "#1f5fa8", "#9aa4b0"
_COLOURS = (_BLUE, "#d1702b", "#3c8d5a", "#8b5fa8", "#7f7f7f")


def draw(
    report: Report,
    corrupted: Mapping[str, Pixels],
    labels: NDArray[Any],
    non_digits: Mapping[str, Pixels],
    folder: Path,
) -> None:
    """confusion.png, reliability.png, mistakes.png, robustness.png and non_digits.png.

    Args:
        corrupted: uint8 (N, 28, 28) by corruption, the clean ones first.
        labels: (N,) of the digits.
        non_digits: uint8 (M, 28, 28) by kind.
    """
    _confusion(report, folder / "confusion.png")
    _reliability(report, folder / "reliability.png")
    clean = next(iter(corrupted.values()))
    _mistakes(report, clean, folder / "mistakes.png")
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


def _confusion(report: Report, path: Path) -> None:
    """A panel a method; mistakes are shaded, not the diagonal, which would outshine them."""
    figure = _figure(5.4 * len(report.rows), 5.2)
    panels = figure.subplots(1, len(report.rows), squeeze=False)[0]
    for panel, row in zip(panels, report.rows, strict=True):
        matrix = np.array(report.details[row["method"]]["confusion"])
        wrong = matrix - np.diag(np.diag(matrix))
        panel.imshow(wrong, cmap="Oranges", vmin=0, vmax=max(_FEW, 1.5 * wrong.max()))
        for truth, answer in np.ndindex(matrix.shape):
            if count := matrix[truth, answer]:
                same = truth == answer
                panel.text(answer, truth, str(count), ha="center", va="center",
                           fontsize=8 if same else 9, color=_GREY if same else "black")  # fmt: skip
        digits = range(len(matrix))
        for edge in digits[1:]:
            panel.axhline(edge - 0.5, color="white", linewidth=1)
            panel.axvline(edge - 0.5, color="white", linewidth=1)
        panel.set(xticks=digits, yticks=digits, xlabel="answer", ylabel="truth")
        panel.set_title(f"{row['method']}: {row['images'] - row['right']} of {row['images']:,} "
                        "wrong", fontsize=10)  # fmt: skip
    _save(figure, path)


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


def _mistakes(report: Report, images: Pixels, path: Path) -> None:
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
            panel.set_title(f"{one['truth']} → {one['answer']}  {sure:.2f} %", fontsize=9)
    _save(figure, path)


def _strips(
    strips: Mapping[str, Pixels], shares: Mapping[str, list[float]], title: str, path: Path
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
