"""Scans for those who look for concealed objects: more that is hidden, and more that is not.

Beside what every simulated scan has: up to four objects; some on the outline, partly beside the
body; some faint, some brighter than the body; hands in pockets, empty pockets, straps, prints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dlkit.mmwave import DEFAULTS, REFERENCE_SIZE, Parameters, enlarge, received
from dlkit.mmwave.scanner import kill_columns, quantise

CONCEALMENT = replace(
    DEFAULTS,
    object_counts=(0.26, 0.36, 0.22, 0.11, 0.05),
    object_least_share=0.5,
    further_kinds=0.25,
    outline_share=0.25,
    faint_share=0.10,
    bright_share=0.06,
    clutter=2.0,
    pose_weights=(*DEFAULTS.pose_weights, ("pocket", 2.0)),
)


@dataclass(frozen=True)
class Hidden:
    """What shows of one object.

    Attributes:
        box: left, top, width and height in pixels of what lies before the body: what is beside it
            has the temperature of what is behind, and does not show.
        contrast: share of the way from the body's temperature to the surroundings'; below 0 it is
            brighter than the body.
        place: ``trunk``, ``limb`` or ``outline``.
    """

    box: tuple[int, int, int, int]
    kind: str
    contrast: float
    place: str


@dataclass(frozen=True)
class Observed:
    """A scan and what is hidden in it.

    Attributes:
        noisy: uint8 (H, W).
        labels: uint8 (H, W), k where the k-th object lies before the body, else 0.
        body: bool (H, W), the person, objects before it included.
    """

    noisy: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    body: NDArray[np.bool_]
    hidden: list[Hidden]


def observe(
    seed: int, size: tuple[int, int] = REFERENCE_SIZE, parameters: Parameters = CONCEALMENT
) -> Observed:
    """Simulate one scan of `size` (rows, columns), the same for the same seed; no clean picture."""
    rng = np.random.default_rng(seed)
    _, scene, _, grey = received(rng, size, parameters)
    noisy = kill_columns(rng, parameters, quantise(grey))
    body = enlarge(scene.body.astype(np.float32) / np.float32(255), size) > 0.5
    labels = np.zeros(size, np.uint8)
    hidden: list[Hidden] = []
    for number, thing in enumerate(scene.objects, start=1):
        seen = (enlarge((scene.labels == number).astype(np.float32), size) > 0.5) & body
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        if not len(rows):
            continue
        labels[seen] = len(hidden) + 1
        left, top = int(columns[0]), int(rows[0])
        box = (left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top)
        hidden.append(Hidden(box, thing.kind, thing.contrast, thing.place))
    return Observed(noisy, labels, body, hidden)
