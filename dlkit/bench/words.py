"""Figures in words, the same on the screen and in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dlkit.bench.result import SpreadValues, WayRow

NONE = "n/a"

# How a task metric is written: its short name, factor, decimals and unit; others as they are.
_METRICS = {
    "accuracy": ("accuracy", 100, 2, " %"),
    "psnr": ("PSNR", 1, 2, " dB"),
    "ssim": ("SSIM", 1, 4, ""),
}


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, thousands set apart: 59,000; 61.2; 0.0043."""
    if value is None:
        return NONE
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{round(value, digits - 1 - math.floor(math.log10(abs(value)))):,.{decimals}f}"


def milliseconds(seconds: float | None) -> str:
    """A time in ms, without the unit."""
    return NONE if seconds is None else number(seconds * 1000)


def percent(share: float | None) -> str:
    """A share in percent."""
    return NONE if share is None else f"{share * 100:.{0 if share >= 0.1 else 1}f} %"


def megabytes(spread: SpreadValues | None) -> str:
    """The middle of a spread of bytes in MB, without the unit."""
    return NONE if spread is None else f"{spread['median'] / 1e6:,.0f}"


def half_range(spread: SpreadValues) -> str:
    """Half the distance from the lowest to the highest round, in percent of the median."""
    if not spread["median"]:
        return NONE
    share = (spread["high"] - spread["low"]) / 2 / spread["median"] * 100
    return f"±{share:.{0 if share >= 9.5 else 1}f}%"


def metrics(row: WayRow, short: bool = False) -> str:
    """Task metrics of a row; it says so where nobody measured them.

    Args:
        short: the first metric alone, without its name.
    """
    values = row["metrics"]
    if values is None:
        return "not certified"
    if not values:
        return "certified"  # on inputs that nobody knows the answers of
    parts = []
    for name, value in values.items():
        word, factor, decimals, unit = _METRICS.get(name, (name, 1, 4, ""))
        figure = f"{value * factor:.{decimals}f}{unit}"
        parts.append(figure if short else f"{word} {figure}")
    return parts[0] if short else ", ".join(parts)


def machine(described: Mapping[str, Any]) -> str:
    """The machine in one line."""
    used, there = described["processors"], described["processors_of_machine"]
    cores = f"{used} processors" if used == there else f"{used} of {there} processors"
    parts = [described["processor"], cores, f"{described['memory_bytes'] / 2**30:.0f} GiB"]
    return ", ".join([*parts, described["gpu"] or "no GPU", described["system"]])
