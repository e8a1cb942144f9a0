"""Pictures of an evaluation of detectors: the free-response curve, misses and false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from dlkit import images
from dlkit.atomic import atomic_path
from dlkit.images import UInt8
from dlkit.mmwave.concealment import Observed
from dlkit.tasks.detect.decode import Float
from dlkit.tasks.detect.score import Matched

_COLOURS = ("#7f7f7f", "#b8a24a", "#1f5fa8", "#d1702b", "#3c8d5a", "#8b5fa8")
_SHOWN, _ACROSS, _WIDTH = 12, 6, 190
# Okabe and Ito's blue, orange and yellow; BGR.
_TRUE, _FALSE, _MISSED = (178, 114, 0), (0, 94, 213), (66, 228, 240)


class Found(Protocol):
    """What a method found; see ``dlkit.evaluation.objects.Kept``."""

    boxes: list[Float]
    matched: Matched
    threshold: float
    hit: set[tuple[int, int]]


def draw_objects(scans: Sequence[Observed], found: Mapping[str, Found], folder: Path) -> None:
    """free_response.png: recall over false alarms a scan. misses-NAME.png and
    false_alarms-NAME.png: of each method, scans with missed objects (yellow), and with alarms that
    are none (orange), at one false alarm in ten scans; blue is right."""
    _curves({name: one.matched for name, one in found.items()}, folder / "free_response.png")
    for name, one in found.items():
        stem = "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")
        missed, wrong = [], []
        for scan, observed in enumerate(scans):
            said = one.boxes[scan][one.boxes[scan][:, 4] >= one.threshold]
            there = {number for which, number in one.hit if which == scan}
            if len(there) < len(observed.hidden):
                missed.append(_picture(observed, said, there))
            if len(said) > len(there):
                wrong.append(_picture(observed, said, there))
        for what, pictures in (("misses", missed), ("false_alarms", wrong)):
            if pictures:
                images.write(folder / f"{what}-{stem}.png", _sheet(pictures[:_SHOWN]))


def _picture(observed: Observed, said: Float, there: set[int]) -> UInt8:
    canvas = np.asarray(cv2.cvtColor(observed.noisy, cv2.COLOR_GRAY2BGR), np.uint8)
    scale = _WIDTH / canvas.shape[1]
    canvas = np.asarray(
        cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
    )

    def box(sides: Sequence[float], colour: tuple[int, int, int], text: str = "") -> None:
        left, top, width, height = (round(side * scale) for side in sides)
        cv2.rectangle(canvas, (left, top), (left + width, top + height), colour, 1)
        cv2.putText(canvas, text, (left, top - 2), cv2.FONT_HERSHEY_SIMPLEX, 0.3, colour, 1)

    for left, top, width, height, chance in said.tolist():
        box((left, top, width, height), _FALSE, f"{chance * 100:.0f}")
    for number, thing in enumerate(observed.hidden):
        box(thing.box, _TRUE if number in there else _MISSED)
    return canvas


def _sheet(pictures: list[UInt8]) -> UInt8:
    blank = np.zeros_like(pictures[0])
    whole = [*pictures, *[blank] * (-len(pictures) % _ACROSS)]
    lines = [np.hstack(whole[at : at + _ACROSS]) for at in range(0, len(whole), _ACROSS)]
    return np.vstack(lines)


def _curves(found: Mapping[str, Matched], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    for place, (name, matched) in enumerate(found.items()):
        hits = np.cumsum(matched.right) / max(matched.objects, 1)
        wrong = np.cumsum(~matched.right) / matched.scans
        colour = _COLOURS[place % len(_COLOURS)]
        axes.step(np.maximum(wrong, 1e-3), hits, where="post", label=name, color=colour)
    axes.axvline(0.1, color="#bbbbbb", linewidth=0.8)
    axes.set(xscale="log", xlim=(2e-3, 3), ylim=(0, 1), xlabel="false alarms a scan",
             ylabel="share of objects found")  # fmt: skip
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)  # covers no curve
    with atomic_path(path) as part:
        figure.savefig(part, format="png")
