"""Rounds over all ways, medians and spread; one measurement a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from dlkit.bench.result import SpreadValues

Key = TypeVar("Key", bound=Hashable)
Clock = Callable[[], float]

# Latencies of one round that are kept: as many order statistics, which is exact to 0.1 % of rank.
_KEPT = 1000
# Fewer calls than these say nothing about a percentile.
_CALLS_NEEDED = {50: 1, 90: 10, 99: 100}


@dataclass(frozen=True)
class Spread:
    """The middle of several rounds, and the lowest and highest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(float(np.median(values)), float(min(values)), float(max(values)))

    def json(self) -> SpreadValues:
        """Plain JSON values."""
        return {"median": self.median, "low": self.low, "high": self.high}


def interleave(
    ways: Sequence[Key],
    rounds: int,
    run: Callable[[Key], Mapping[str, Any]],
    on_step: Callable[[int, Key], None] = lambda _, __: None,
) -> tuple[dict[Key, list[Mapping[str, Any]]], dict[Key, str]]:
    """Measure every way once a round, so that a change of the machine hits all of them alike.

    Each round starts one way later than the one before: none is always first. A way that gives
    an ``error`` is not tried again.

    Returns:
        what ``run`` gave, by way, a value a round; and the errors, by way.
    """
    found: dict[Key, list[Mapping[str, Any]]] = {way: [] for way in ways}
    errors: dict[Key, str] = {}
    done = 0
    for turn in range(rounds):
        start = turn % max(len(ways), 1)
        for way in [*ways[start:], *ways[:start]]:
            on_step(done, way)
            done += 1
            if way in errors:
                continue
            result = run(way)
            if "error" in result:
                errors[way] = str(result["error"])
            else:
                found[way].append(result)
    return {way: results for way, results in found.items() if way not in errors}, errors


def timed_calls(
    call: Callable[[], Any], seconds: float, clock: Clock = time.perf_counter
) -> tuple[list[float], float]:
    """Call again and again for a time, at least once; seconds of each call, and of all."""
    latencies = []
    begun = clock()
    while True:
        start = clock()
        call()
        end = clock()
        latencies.append(end - start)
        if end - begun >= seconds:
            return latencies, end - begun


def sketch(latencies: Sequence[float]) -> list[float]:
    """At most ``_KEPT`` order statistics, evenly spaced in rank."""
    if len(latencies) <= _KEPT:
        return sorted(latencies)
    ranks = (np.arange(_KEPT) + 0.5) / _KEPT
    return [float(value) for value in np.quantile(latencies, ranks)]


def percentiles(sketches: Sequence[Sequence[float]], calls: int) -> dict[str, float | None]:
    """p50, p90 and p99 of all rounds together; None where there were too few calls to know."""
    values = np.concatenate([np.asarray(one, float) for one in sketches])
    return {
        f"p{percent}": float(np.percentile(values, percent)) if calls >= needed else None
        for percent, needed in _CALLS_NEEDED.items()
    }


def in_process(job: Mapping[str, Any], clock: Clock = time.perf_counter) -> dict[str, Any]:
    """Do a job of worker.py in a fresh process: its peak memory is its own.

    Returns:
        what the worker gave, with ``process_s``: wall time from start to end; or ``error``.
    """
    with tempfile.TemporaryFile() as complaints:
        begun = clock()
        # In a session of its own, so that Ctrl-C reaches this process alone, which then ends it.
        process = subprocess.Popen(
            [sys.executable, "-m", "dlkit.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
        )
        with process:
            try:
                output, _ = process.communicate(json.dumps(job).encode())
            except BaseException:
                _end(process)
                raise
        seconds = clock() - begun
        if process.returncode != 0 or not output:
            complaints.seek(0)
            lines = complaints.read().decode(errors="replace").strip().splitlines()
            return {"error": _died(process.returncode, lines)}
    result: dict[str, Any] = json.loads(output)
    return {**result, "process_s": seconds}


def _end(process: subprocess.Popen[bytes]) -> None:
    """The worker, and whatever it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _died(code: int, lines: list[str]) -> str:
    if code == -9:
        return "the system ended it (signal 9): most likely too little memory"
    if code < 0:
        return f"it was ended by signal {-code}"
    return f"it failed with exit code {code}: {lines[-1] if lines else 'no message'}"
