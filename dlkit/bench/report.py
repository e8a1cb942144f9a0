"""The result as one HTML file: no network, no script, for a screen, a phone and paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlkit.bench import words
from dlkit.bench.groups import Group, groups, shapes
from dlkit.bench.result import BenchResult, FolderRow, SpreadValues, WayRow

_COLOURS = 6  # that report.css has
_LATENCIES = ("p50", "p90", "p99")


def html(result: BenchResult) -> str:
    """The report of what ``run.bench`` gave: well-formed XML as well as HTML."""
    import jinja2

    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    backends = sorted({row["backend"] for row in [*result["inference"], *result["folder"]]})
    colours = {backend: index % _COLOURS for index, backend in enumerate(backends)}
    return environment.get_template("report.html.j2").render(
        result=result,
        words=words,
        shapes=shapes,
        css=(here / "report.css").read_text(encoding="utf-8"),
        colours=colours,
        sections=[_section(group, colours) for group in groups(result)],
        folder=_folder(result["folder"], colours),
        folder_best=_best_of_each(result["folder"]),
    )


def _section(group: Group, colours: Mapping[str, int]) -> dict[str, Any]:
    """The charts of a group. Each bar's place is in percent of its track."""
    rows = group.rows
    best = max(rows, key=lambda row: float(row["samples_per_s"]["median"]), default=None)
    most = _most([row["samples_per_s"] for row in rows])
    return {
        "group": group,
        "best": best,
        "speed": [
            {
                **_bar(row, row["samples_per_s"], most, colours),
                "label": group.label(row),
                "row": row,
            }
            for row in rows
        ],
        "latency": _latency(group, colours),
        "share": _shares(group, colours),
    }


def _folder(rows: Sequence[FolderRow], colours: Mapping[str, int]) -> list[dict[str, Any]]:
    """Bars of the runs over a folder, each with the mark of its bound."""
    top = max(
        0.0,
        _most([row["samples_per_s"] for row in rows]),
        _most([row["samples_per_s_after_start"] for row in rows]),
        *(float(row["bound_samples_per_s"] or 0) for row in rows),
    )
    return [
        {
            **_bar(row, row["samples_per_s_after_start"] or row["samples_per_s"], top, colours),
            "label": f"{row['bundle']}, {row['backend']} {row['device']}",
            "bound": _place(row["bound_samples_per_s"], top),
            "row": row,
        }
        for row in rows
    ]


def _best_of_each(rows: Sequence[FolderRow]) -> list[FolderRow]:
    """The fastest row of each bundle."""
    best: dict[str, FolderRow] = {}
    for row in sorted(rows, key=lambda row: float(row["samples_per_s"]["median"])):
        best[row["bundle"]] = row
    return list(best.values())


def _most(spreads: Sequence[SpreadValues | None]) -> float:
    return max((spread["high"] for spread in spreads if spread), default=0.0)


def _bar(
    row: WayRow, spread: SpreadValues, top: float, colours: Mapping[str, int]
) -> dict[str, Any]:
    low, high = _place(spread["low"], top), _place(spread["high"], top)
    return {
        "colour": colours[row["backend"]],
        "width": _place(spread["median"], top),
        "low": low,
        "range": round((high or 0) - (low or 0), 2),
    }


def _latency(group: Group, colours: Mapping[str, int]) -> dict[str, Any]:
    """Percentiles on a logarithmic scale whose ends are round numbers."""
    known = [v for row in group.rows for v in row["latency_s"].values() if v]
    if not known:
        return {"rows": [], "ticks": []}
    low = math.floor(math.log10(min(known)) * 2) / 2  # halves of a decade
    high = max(math.ceil(math.log10(max(known)) * 2) / 2, low + 0.5)

    def place(seconds: float) -> float:
        return round(4 + (math.log10(seconds) - low) / (high - low) * 92, 2)  # room for the ends

    steps = (1, 2, 5) if high - low <= 1 else (1, 3) if high - low <= 2 else (1,)
    marks = [step * 10.0**power for power in range(math.floor(low), 9) for step in steps]
    ticks = [
        {"at": place(mark), "label": f"{words.number(mark * 1000, 1)} ms"}
        for mark in marks
        if 10**low <= mark <= 10**high
    ]
    bars = []
    for row in group.rows:
        points = {name: row["latency_s"][name] for name in _LATENCIES}
        at = {name: place(value) for name, value in points.items() if value}
        bars.append(
            {
                "label": group.label(row),
                "colour": colours[row["backend"]],
                "points": at,
                "from": min(at.values()),
                "range": round(max(at.values()) - min(at.values()), 2),
                "text": ", ".join(words.milliseconds(value) for value in points.values() if value),
            }
        )
    return {"rows": bars, "ticks": ticks}


def _shares(group: Group, colours: Mapping[str, int]) -> list[dict[str, Any]]:
    """Share of the ceiling; the track ends at 100 % or at the largest share above it."""
    known = [row for row in group.rows if row["share_of_ceiling"] is not None]
    top = max([1.0, *(row["share_of_ceiling"] or 0.0 for row in known)])
    return [
        {
            "label": group.label(row),
            "colour": colours[row["backend"]],
            "width": _place(row["share_of_ceiling"], top),
            "whole": _place(1.0, top),
            "text": words.percent(row["share_of_ceiling"]),
        }
        for row in known
    ]


def _place(value: float | None, top: float) -> float | None:
    return None if value is None or not top else round(value / top * 100, 2)
