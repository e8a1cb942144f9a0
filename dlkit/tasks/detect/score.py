"""How good detections are: average precision, recall at so many false alarms a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit.tasks.detect.decode import Float, overlap

SAME = 0.5  # intersection over union from which a box is the right one
# Lin et al., "Microsoft COCO", arXiv 1405.0312: mean over these, precision at 101 recalls
_STRICT = tuple(float(one) for one in np.linspace(0.5, 0.95, 10).round(2))
_RECALLS = np.linspace(0, 1, 101)


class Matched(NamedTuple):
    """Boxes of several scans beside the true ones, the most likely first.

    Attributes:
        chance: float32 (N,).
        right: bool (N,); a second box of an object is wrong.
        objects: how many true ones there are.
        scans: how many scans.
        which: int64 (N, 2), scan and true object of what is right; -1 where it is not.
    """

    chance: Float
    right: NDArray[np.bool_]
    objects: int
    scans: int
    which: NDArray[np.int64]


def match(found: Sequence[Float], truth: Sequence[Float], same: float = SAME) -> Matched:
    """Give each box the true one that it overlaps most and that no likelier box has.

    Args:
        found: of each scan float32 (N, 5), left, top, width, height, chance.
        truth: of each scan float32 (M, 4).
        same: least intersection over union.
    """
    chances, which = [np.zeros(0, np.float32)], [np.zeros((0, 2), np.int64)]
    for scan, (boxes, wanted) in enumerate(zip(found, truth, strict=True)):
        boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
        shared = overlap(boxes[:, :4], wanted)
        got = np.full((len(boxes), 2), -1, np.int64)
        got[:, 0] = scan
        for place in range(len(boxes) if len(wanted) else 0):
            best = int(shared[place].argmax())
            if shared[place, best] >= same:
                got[place, 1] = best
                shared[:, best] = 0
        chances.append(boxes[:, 4])
        which.append(got)
    chance, pairs = np.concatenate(chances), np.concatenate(which)
    order = np.argsort(-chance, kind="stable")
    pairs = pairs[order]
    objects = sum(len(one) for one in truth)
    return Matched(chance[order], pairs[:, 1] >= 0, objects, len(found), pairs)


def average_precision(matched: Matched) -> float:
    """Mean of the precision at 101 recalls, 0 to 1; each that of the best threshold that reaches
    the recall. 0 where there is no object."""
    if not matched.objects or not len(matched.chance):
        return 0.0
    hits = np.cumsum(matched.right)
    precision = hits / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(hits / matched.objects, _RECALLS - 1e-12, side="left")
    return float(np.where(place < len(best), best[np.minimum(place, len(best) - 1)], 0).mean())


def strict_precision(found: Sequence[Float], truth: Sequence[Float]) -> float:
    """Mean of the average precision at intersections over union of 0.5, 0.55 ... 0.95."""
    return float(np.mean([average_precision(match(found, truth, same)) for same in _STRICT]))


class Operating(NamedTuple):
    """What a threshold brings.

    Attributes:
        threshold: least chance.
        recall: share of the objects that are found.
        false_alarms: boxes a scan that are none, or a second one of an object.
    """

    threshold: float
    recall: float
    false_alarms: float


def at_threshold(matched: Matched, threshold: float) -> Operating:
    """What a threshold brings."""
    taken = matched.chance >= threshold
    hits = int(matched.right[taken].sum())
    wrong = int(taken.sum()) - hits
    return Operating(threshold, hits / max(matched.objects, 1), wrong / max(matched.scans, 1))


def at_false_alarms(matched: Matched, most: float) -> Operating:
    """The lowest threshold with at most so many false alarms a scan."""
    wrong = np.flatnonzero(~matched.right)
    allowed = int(most * matched.scans + 1e-9)
    if len(wrong) <= allowed:
        return at_threshold(matched, float(matched.chance[-1]) if len(matched.chance) else 1.0)
    above = matched.chance[matched.chance > matched.chance[wrong[allowed]]]
    return at_threshold(matched, float(above[-1]) if len(above) else 1.0)
