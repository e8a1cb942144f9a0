"""Another scanner's parameters, estimated from its noisy scans alone.

The same measurements are taken of these scans and of simulated ones, and the simulator's ranges are
scaled by the ratios: noise and stripes of the background, the width of the person's edge, mean and
deviation of the grey levels. What no measurement tells, people, clothing and the retoucher's taste,
stays as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError
from dlkit.images import UInt8
from dlkit.mmwave import DEFAULTS, simulate
from dlkit.mmwave.parameters import Parameters, Range
from dlkit.mmwave.statistics import REACH, describe

SIMULATED = "simulated"

_COMPARED = 24  # scans to compare with; seeds that trainings may see: nothing is proved by them
_LEAST = 100  # pixels of a scan's sides
_FAR = 24  # pixels from the person to the background that is measured
_UPPER = 0.44  # of the rows: above the floor, as in `statistics`
_MOST = 4.0  # a factor beyond it, or below its inverse, is no scanner but a failed measurement
_LEVELS = ("curve_raw", "threshold_grey")


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


def fit(scans: Sequence[UInt8]) -> tuple[Parameters, dict[str, float]]:
    """Parameters of the scanner that made these scans, uint8 (H, W) each.

    Returns:
        The parameters, and the factors of noise, stripes and edge width that they differ by.

    Raises:
        InputError: no scan shows a person before a background, or what is measured is so far from
            simulated scans that it means nothing.
    """
    found = [one for one in map(measure, scans) if one is not None]
    if not found:
        raise InputError(
            "no scan shows a person before a background",
            "Give scans of whole people, 100 x 100 pixels or more, as the scanner makes them",
        )
    size = scans[0].shape
    plain = [measure(simulate(seed, (size[0], size[1])).noisy) for seed in range(_COMPARED)]
    here, there = _median(found), _median([one for one in plain if one is not None])
    factors = {name: getattr(here, name) / max(getattr(there, name), 1e-6)
               for name in ("noise", "stripes", "width")}  # fmt: skip
    for name, factor in factors.items():
        if not 1 / _MOST <= factor <= _MOST:
            raise InputError(
                f"{name} would be {factor:.2g} times that of simulated scans",
                "Look whether these are raw scans, uncleaned, with a person in each",
            )
    made = with_levels(scaled(DEFAULTS, **factors), here.mean, here.deviation)
    return made, factors


def measure(scan: UInt8) -> Measured | None:
    """What can be said of a scan; None where nothing can."""
    if min(scan.shape) < _LEAST:
        return None
    image = scan.astype(np.float32)
    body = _body(scan)
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
    rise = float(np.nanmean(edge[-REACH // 2 :]) - np.nanmean(edge[: REACH // 2]))
    slope = float(np.nanmax(np.diff(edge)))
    deviation = float(image.std())
    if not (rise > 0 and slope > 0 and deviation > 0):
        return None
    return Measured(
        float(image.mean()), deviation, float(rest[upper].std()) / deviation,
        float(stripes[known].std()) / deviation, 0.8 * rise / slope,
    )  # fmt: skip


def scaled(
    parameters: Parameters, noise: float = 1.0, stripes: float = 1.0, width: float = 1.0
) -> Parameters:
    """With so many times the noise, the stripes and the edge width."""

    def times(name: str, factor: float) -> Range:
        low, high = getattr(parameters, name)
        return low * factor, high * factor

    names = {
        **dict.fromkeys(("noise_kelvin", "row_kelvin"), noise),
        **dict.fromkeys(
            ("column_offset_kelvin", "column_drift_kelvin", "column_gain", "spike_kelvin"), stripes
        ),
        **dict.fromkeys(("psf_across", "psf_down"), width),
    }
    changes: dict[str, Any] = {name: times(name, factor) for name, factor in names.items()}
    return replace(parameters, **changes)


def with_levels(parameters: Parameters, mean: float, deviation: float) -> Parameters:
    """For a display of another mean and deviation: people's levels curves move along."""
    gain = deviation / parameters.grey_deviation

    def moved(name: str) -> tuple[float, ...]:
        values = getattr(parameters, name)
        return tuple(mean + gain * (value - parameters.grey_mean) for value in values)

    changes: dict[str, Any] = {name: moved(name) for name in _LEVELS}
    below = mean + gain * (parameters.lift_below - parameters.grey_mean)
    return replace(
        parameters, grey_mean=mean, grey_deviation=deviation, lift_below=below, **changes
    )


def to_json(parameters: Parameters) -> str:
    """The fields that are not as in ``DEFAULTS``, as JSON text."""
    usual = asdict(DEFAULTS)
    changed = {name: value for name, value in asdict(parameters).items() if value != usual[name]}
    return json.dumps({"parameters": changed}, indent=1) + "\n"


def load(path: Path) -> Parameters:
    """Read what ``to_json`` wrote.

    Raises:
        InputError: it cannot be read, or has a field that the simulator does not know.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["parameters"]
        known = {one.name: getattr(DEFAULTS, one.name) for one in fields(Parameters)}
        for name, value in values.items():
            if not _alike(known[name], value):
                raise ValueError(f"{name} is {str(value)[:40]}")
        changes: dict[str, Any] = {name: _frozen(value) for name, value in values.items()}
        return replace(DEFAULTS, **changes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no parameters of the simulator ({type(error).__name__}: {error})",
            "Give a file of dlkit simulate fit",
        ) from error


def simulator(data: str) -> Parameters | None:
    """The simulator that ``data`` names: ``simulated``, or ``simulated:FILE`` with parameters that
    were fitted; None where it names a folder.

    Raises:
        InputError: the file cannot be used.
    """
    name, _, file = data.partition(":")
    if name != SIMULATED:
        return None
    return load(Path(file)) if file else DEFAULTS


def _alike(usual: object, value: object) -> bool:
    if isinstance(usual, tuple) and isinstance(value, list):
        same = len(usual) == len(value)
        return same and all(_alike(one, other) for one, other in zip(usual, value, strict=True))
    if isinstance(usual, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(float(str(value)))
    return usual == value


def _frozen(value: object) -> object:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value


def _median(found: Sequence[Measured]) -> Measured:
    return Measured(*np.median([list(asdict(one).values()) for one in found], axis=0).tolist())


def _body(scan: UInt8) -> NDArray[np.bool_]:
    """The person, roughly: what Otsu's threshold leaves of the smoothed scan, the largest part."""
    smooth = cv2.GaussianBlur(scan, (0, 0), 5)
    _, bright = cv2.threshold(smooth, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(np.asarray(bright, np.uint8))
    if len(statistics) < 2:
        return np.zeros(scan.shape, bool)
    return np.asarray(labels == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax()))
