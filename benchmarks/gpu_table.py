"""Times, and the table of what gpu_check.py measured. No GPU and no torch in here."""

from __future__ import annotations

import json
import math
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """One network on one backend at one batch; or the reason why there are no numbers.

    Attributes:
        images_per_s: with one batch ahead where the backend can; copies included.
        p50_ms, p99_ms: from a batch in host memory to its answer in host memory.
        difference: largest, from torch in float32: probability, or grey levels of 255.
        flop: of one image, multiply and add counted as two.
        share: of the card's measured matrix-multiply rate in float16, 0 to 1.
    """

    network: str
    backend: str
    batch: int
    images_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    difference: float | None = None
    flop: float | None = None
    share: float | None = None
    reason: str | None = None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def time_calls(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call, after a warm-up of at least five calls and a fifth of the time."""
    start, calls = time.perf_counter(), 0
    while calls < 5 or time.perf_counter() - start < seconds / 5:
        call()
        calls += 1
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 10 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return times


def throughput(run: Any, pixels: Any, seconds: float) -> float:
    """Images per second, one batch ahead where the backend can."""
    submit = getattr(run, "submit", None)
    done, ahead = 0, deque[Any]()
    start = time.perf_counter()
    while done < 10 or time.perf_counter() - start < seconds:
        if submit is None:
            run(pixels)
        else:
            ahead.append(submit(pixels))
            if len(ahead) > 1:
                ahead.popleft().result()
        done += 1
    while ahead:
        ahead.popleft().result()
    return done * len(pixels) / (time.perf_counter() - start)


def row(
    network: str,
    backend: str,
    batch: int,
    latencies: Sequence[float],
    images_per_s: float,
    difference: float,
    flop: float,
    matmul: float,
) -> Row:
    """A row of what was measured.

    Args:
        latencies: seconds of each batch.
        flop: of one image.
        matmul: FLOP/s of the card's matrix products.
    """
    return Row(
        network,
        backend,
        batch,
        images_per_s=images_per_s,
        p50_ms=1e3 * percentile(latencies, 0.5),
        p99_ms=1e3 * percentile(latencies, 0.99),
        difference=difference,
        flop=flop,
        share=images_per_s * flop / matmul if matmul > 0 else None,
    )


def failed(network: str, backend: str, batch: int, error: BaseException | str) -> Row:
    """A row that says why there is nothing to say: the first line of the error's first cause."""
    while isinstance(error, BaseException) and error.__cause__ is not None:
        error = error.__cause__
    text = re.sub("\x1b\\[[0-9;]*m", "", str(error)).strip()  # colours
    line = text.partition("\n")[0]
    if isinstance(error, BaseException) and type(error).__module__ != "dlkit.errors":
        line = f"{type(error).__name__}: {line}"
    return Row(network, backend, batch, reason=line if len(line) < 240 else line[:237] + "...")


def markdown(machine: Mapping[str, str], rows: Sequence[Row]) -> str:
    """The machine, a table of the numbers, and a list of what did not run."""
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    lines += [
        "",
        "| network | backend | batch | images/s | p50 ms | p99 ms | difference | share of matmul |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in rows:
        if one.reason is None:
            cells = [
                one.network,
                one.backend,
                str(one.batch),
                _number(one.images_per_s),
                _number(one.p50_ms),
                _number(one.p99_ms),
                _number(one.difference),
                "" if one.share is None else f"{100 * one.share:.1f} %",
            ]
            lines.append("| " + " | ".join(cells) + " |")
    lost: dict[tuple[str, str], list[str]] = {}
    for one in rows:
        if one.reason is not None:
            lost.setdefault((one.backend, one.reason), []).append(f"{one.network} x{one.batch}")
    if lost:
        lines += [
            "",
            "What did not run:",
            "",
            "| backend | reason | network x batch |",
            "|---|---|---|",
        ]
        for (backend, reason), names in lost.items():
            lines.append(f"| {backend} | {reason.replace('|', '/')} | {', '.join(names)} |")
    return "\n".join(lines) + "\n"


def write(folder: Path, machine: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Write gpu.md and gpu.json, whole; called after each network, so a killed run leaves both."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"machine": dict(machine), "rows": [asdict(one) for one in rows]}
    for name, text in (
        ("gpu.md", markdown(machine, rows)),
        ("gpu.json", json.dumps(data, indent=2) + "\n"),
    ):
        part = folder / f".{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)


def _number(value: float | None) -> str:
    """Three digits that count."""
    if value is None or math.isnan(value):
        return "" if value is None else "NaN"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
