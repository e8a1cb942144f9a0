"""Another scanner's parameters, estimated from its noisy scans alone.

The same measurements are taken of these scans and of simulated ones, and the simulator's ranges are
scaled by the ratios: noise and stripes of the background, the width of the person's edge, mean and
deviation of the grey levels. What no measurement tells, people, clothing and the retoucher's taste,
stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dlkit.errors import InputError
from dlkit.images import UInt8
from dlkit.mmwave import DEFAULTS, simulate
from dlkit.mmwave.measure import LEAST, Measured, check_usual, measure, median
from dlkit.mmwave.parameters import Parameters, Range

_COMPARED = 24  # scans to compare with; seeds that trainings may see: nothing is proved by them
_MOST = 4.0  # a factor beyond it, or below its inverse, is no scanner but a failed measurement
_LEVELS = ("curve_raw", "threshold_grey")


@dataclass(frozen=True)
class Fitted:
    """A scanner.

    Attributes:
        parameters: of the simulator.
        factors: of noise, stripes and edge width that they differ by from the usual.
        size: height and width in pixels of the scans that were measured.
        measured: how many.
        left_out: names of the others, and why.
    """

    parameters: Parameters
    factors: dict[str, float]
    size: tuple[int, int]
    measured: int
    left_out: dict[str, str]


def fit(scans: Mapping[str, UInt8]) -> Fitted:
    """Fit the simulator to the scanner that made these scans, uint8 (H, W) each, by name.

    Only those of the commonest size count, the larger of two: measurements in pixels do not mix.

    Raises:
        InputError: none is 100 x 100 pixels or more, most are no raw scans of the usual kind, none
            shows a person before a background, or what is measured is so far from simulated scans
            that it means nothing.
    """
    size = _commonest(scans)
    alike = {name: scan for name, scan in scans.items() if scan.shape == size}
    left_out = {
        name: f"is {scan.shape[0]}x{scan.shape[1]}, most are {size[0]}x{size[1]}"
        for name, scan in scans.items() if name not in alike
    }  # fmt: skip
    found: list[Measured] = []
    odd: dict[str, InputError] = {}
    for name, scan in alike.items():
        try:
            check_usual(scan)
        except InputError as error:
            odd[name] = error
            continue
        if (one := measure(scan)) is None:
            left_out[name] = "shows no person before a background"
        else:
            found.append(one)
    if 2 * len(odd) > len(alike):
        name, first = next(iter(odd.items()))
        raise InputError(
            f"{len(odd)} of {len(alike)} scans are not as expected: {name}: {first.what}",
            first.mend,
        )
    left_out |= {name: error.what for name, error in odd.items()}
    plain = (measure(simulate(seed, size).noisy) for seed in range(_COMPARED))
    usual = [one for one in plain if one is not None]
    if not found or not usual:
        raise InputError(
            f"no scan shows a person before a background ({len(alike)} of {size[0]}x{size[1]})",
            "Give scans of whole people, 100 x 100 pixels or more, as the scanner makes them",
        )
    here, there = median(found), median(usual)
    factors = {name: getattr(here, name) / max(getattr(there, name), 1e-6)
               for name in ("noise", "stripes", "width")}  # fmt: skip
    for name, factor in factors.items():
        if not 1 / _MOST <= factor <= _MOST:
            raise InputError(
                f"{name} would be {factor:.2g} times that of simulated scans, expected "
                f"{1 / _MOST:g} to {_MOST:g}",
                "Look whether these are raw scans, uncleaned, with a person in each",
            )
    made = with_levels(scaled(DEFAULTS, **factors), here.mean, here.deviation)
    return Fitted(made, factors, size, len(found), left_out)


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


def _commonest(scans: Mapping[str, UInt8]) -> tuple[int, int]:
    sizes = Counter((scan.shape[0], scan.shape[1]) for scan in scans.values())
    enough = [size for size in sizes if min(size) >= LEAST]
    if not enough:
        got = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[-3:])
        raise InputError(
            f"no scan is {LEAST}x{LEAST} pixels or more, got {got or 'none'}",
            "Give scans of whole people as the scanner makes them",
        )
    return max(enough, key=lambda size: (sizes[size], size[0] * size[1], size))
