"""Scans for those who look for concealed objects: more that is hidden, and more that is not.

Beside what every simulated scan has: up to four objects; some on the outline, partly beside the
body; some faint, some brighter than the body; hands in pockets, empty pockets, straps, prints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.mmwave import DEFAULTS, REFERENCE_SIZE, Parameters, Received, enlarge, received
from dlkit.mmwave.fields import FloatImage
from dlkit.mmwave.scanner import blur, kill_columns, quantise

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


# What nobody can see even knowing where it is, is not asked for. An object shows where it changes
# the scan, after the optics and where the display is not saturated, by this share of its own
# greatest change: where a blurred edge crosses half, and a little beyond.
SHOWS = 0.4
# Pieces of an object that lie apart, e.g. on both sides of a gap, belong to it from this share of
# the largest one's area on. [chosen]
PIECE = 0.2
# Mean change where it shows, in grey levels: twice the deviation of the fine texture of clothing,
# 12 to 13 (`Parameters.fine_texture_kelvin`, measured): what changes less looks like a fold.
LEAST_CHANGE = 25.0


@dataclass(frozen=True)
class Hidden:
    """What shows of one object.

    Attributes:
        box: left, top, width and height in pixels of what shows: what is beside the body has the
            temperature of what is behind, and does not.
        contrast: share of the way from the body's temperature to the surroundings'; below 0 it is
            brighter than the body.
        place: ``trunk``, ``limb`` or ``outline``.
        change: mean of the grey levels by which it changes the scan where it shows.
    """

    box: tuple[int, int, int, int]
    kind: str
    contrast: float
    place: str
    change: float


@dataclass(frozen=True)
class Observed:
    """A scan and what is hidden in it.

    Attributes:
        noisy: uint8 (H, W).
        labels: uint8 (H, W), k where the k-th object shows, else 0.
        body: bool (H, W), the person, objects before it included.
        unseen: objects that nobody can see, and that are not among the hidden ones.
    """

    noisy: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    body: NDArray[np.bool_]
    hidden: list[Hidden]
    unseen: int = 0


def observe(
    seed: int, size: tuple[int, int] = REFERENCE_SIZE, parameters: Parameters = CONCEALMENT
) -> Observed:
    """Simulate one scan of `size` (rows, columns), the same for the same seed; no clean picture.

    An object that changes the scan by less than ``LEAST_CHANGE`` grey levels, or of which less
    than ``Parameters.object_least_area`` shows, is counted as unseen.
    """
    rng = np.random.default_rng(seed)
    got = received(rng, size, parameters)
    scene = got.scene
    noisy = kill_columns(rng, parameters, quantise(got.grey))
    body = enlarge(scene.body.astype(np.float32) / np.float32(255), size) > 0.5
    labels = np.zeros(size, np.uint8)
    hidden: list[Hidden] = []
    least = parameters.object_least_area * got.scale**2
    change = _change(got) if scene.objects else np.zeros(size, np.float32)
    for number, thing in enumerate(scene.objects, start=1):
        here = (enlarge((scene.labels == number).astype(np.float32), size) > 0.5) & body
        seen = _shown(here, change)
        area = int(seen.sum())
        mean = float(change[seen].mean()) if area else 0.0
        if area < least or mean < LEAST_CHANGE:
            continue
        labels[seen] = len(hidden) + 1
        found = Hidden(box_around(seen), thing.kind, thing.contrast, thing.place, mean)
        hidden.append(found)
    return Observed(noisy, labels, body, hidden, len(scene.objects) - len(hidden))


def box_around(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is True, of which there is some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top


def _change(got: Received) -> FloatImage:
    """Grey levels by which objects change the scan, without stripes and noise: float32 (H, W)."""
    canvas = got.scene.change.shape
    level = cv2.resize(got.grey, canvas[::-1], interpolation=cv2.INTER_AREA)
    level = blur(np.asarray(level, np.float32), 2.0, 2.0)  # noise must not decide what is saturated
    without = level - got.optics.apply(got.scene.change) * np.float32(got.gain)
    return np.abs(enlarge(level.clip(0, 255) - without.clip(0, 255), got.grey.shape))


def _shown(here: NDArray[np.bool_], change: FloatImage) -> NDArray[np.bool_]:
    """Which pixels of an object show, small pieces left out."""
    seen = np.zeros_like(here)
    if not here.any():
        return seen
    left, top, width, height = box_around(here)
    cut = np.s_[top : top + height, left : left + width]
    enough = SHOWS * np.percentile(change[here], 90)
    shown = (here[cut] & (change[cut] >= enough)).astype(np.uint8)
    _, pieces, statistics, _ = cv2.connectedComponentsWithStats(shown)
    areas = statistics[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    seen[cut] = ((areas > 0) & (areas >= PIECE * areas.max()))[pieces]
    return seen
