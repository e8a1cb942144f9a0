"""What noisy scans tell about their scanner: levels, noise, stripes, the width of an edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError
from dlkit.images import UInt8
from dlkit.mmwave.statistics import REACH, describe

LEAST = 100  # pixels of a scan's sides

_FAR = 24  # pixels from the person to the background that is measured
_UPPER = 0.44  # of the rows: above the floor, as in `statistics`

# What is no raw scan on a display. Simulated ones have a mean of 126 to 128, a deviation of 25
# (with nobody there) to 53 and at most 4 % of black or white; 14 bits in 16 have a mean of 32. Of
# the upper border their person takes nothing, seldom a sixth, that of inverted ones nine tenths;
# persons are at most 0.9 times as wide as they are high, turned ones 1.1 times or more.
_MEANS = (40.0, 215.0)
_LEAST_DEVIATION = 16.0
_MOST_CUT = 0.3
_MOST_BORDER = 0.5
_WIDEST = 1.0


@dataclass(frozen=True)
class Measured:
    """Of one scan, or medians of several.

    Attributes:
        mean, deviation: of the grey levels.
        noise, stripes: deviation of the background without stripes, and of its columns' means
            without what is wider than 31 pixels, as shares of ``deviation``.
        width: pixels from 10 to 90 % of the person's edge, by its steepest slope.
    """

    mean: float
    deviation: float
    noise: float
    stripes: float
    width: float


def check_usual(scan: UInt8) -> None:
    """Refuse what is no raw scan with a standing person, brighter than the surroundings.

    Args:
        scan: uint8 (H, W).

    Raises:
        InputError: its levels are far from a display's, nobody on it is brighter than the
            surroundings, or what is bright is wider than high.
    """
    mean, deviation = float(scan.mean()), float(scan.std())
    if not _MEANS[0] <= mean <= _MEANS[1] or deviation < _LEAST_DEVIATION:
        raise InputError(
            f"grey levels have mean {mean:.0f} and deviation {deviation:.0f}, expected some 127 "
            "and 50 of 0 to 255",
            "Say which values are black and white with --range LOW:HIGH, e.g. 0:4095 for 12 bits "
            "in 16",
        )
    for level, name in ((0, "black"), (255, "white")):
        if (share := float((scan == level).mean())) > _MOST_CUT:
            raise InputError(
                f"{share:.0%} is {name}, expected hardly any",
                "Give raw scans, not cleaned pictures, and a --range LOW:HIGH that fits the values",
            )
    bright = _bright(scan)
    upper = round(len(scan) * _UPPER)
    border = float(np.concatenate([bright[0], bright[:upper, 0], bright[:upper, -1]]).mean())
    if border > _MOST_BORDER:
        raise InputError(
            "nobody is brighter than the surroundings",
            "Invert scans that show warm as dark, and leave out those without a person",
        )
    rows, columns = np.nonzero(_largest(bright))
    if len(rows) and columns.std() > _WIDEST * rows.std():
        raise InputError(
            "the person is wider than high, expected one that stands",
            "Turn the scans by 90 degrees, head up",
        )


def measure(scan: UInt8) -> Measured | None:
    """What can be said of a scan, uint8 (H, W); None where nothing can."""
    if min(scan.shape) < LEAST:
        return None
    image = scan.astype(np.float32)
    body = _largest(_bright(scan))
    upper = cv2.distanceTransform((~body).astype(np.uint8), cv2.DIST_L2, 5) > _FAR
    upper[round(len(scan) * _UPPER) :] = False
    rows = upper.sum(axis=0)
    known = rows > 0.1 * len(scan)
    if not body.any() or known.sum() < 0.25 * scan.shape[1]:
        return None
    means = (image * upper).sum(axis=0) / np.maximum(rows, 1)
    level = np.interp(np.arange(len(means)), np.flatnonzero(known), means[known]).astype(np.float32)
    stripes = level - cv2.blur(level[None], (31, 1))[0]
    rest = image - level
    rest -= cv2.GaussianBlur(rest, (0, 0), 12)
    edge = describe(scan, body)["edge"]
    inside, outside, slopes = edge[-REACH // 2 :], edge[: REACH // 2], np.diff(edge)
    if any(np.isnan(part).all() for part in (inside, outside, slopes)):
        return None
    rise, slope = float(np.nanmean(inside) - np.nanmean(outside)), float(np.nanmax(slopes))
    deviation = float(image.std())
    if not (rise > 0 and slope > 0 and deviation > 0):
        return None
    return Measured(
        float(image.mean()), deviation, float(rest[upper].std()) / deviation,
        float(stripes[known].std()) / deviation, 0.8 * rise / slope,
    )  # fmt: skip


def median(found: Sequence[Measured]) -> Measured:
    """The median of each measurement; of one scan at least."""
    return Measured(*np.median([astuple(one) for one in found], axis=0).tolist())


def _bright(scan: UInt8) -> NDArray[np.bool_]:
    """What Otsu's threshold leaves of the smoothed scan."""
    smooth = cv2.GaussianBlur(scan, (0, 0), 5)
    _, bright = cv2.threshold(smooth, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(bright, np.bool_)


def _largest(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part: the person, roughly."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(bright.astype(np.uint8))
    if len(statistics) < 2:
        return np.zeros(bright.shape, np.bool_)
    return np.asarray(labels == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax()))
