"""Which way to serve a model gives most within a latency that is allowed.

Each candidate is a real server on loopback under load from a process of its own. Settings are
searched one after the other: bundle and backend first, then batch, workers and delay of the best
two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dlkit.bench import plan
from dlkit.bundle import Bundle
from dlkit.errors import UsageError
from dlkit.processors import cpu_count
from dlkit.tasks import TASKS

_BUDGET = re.compile(r"(p50|p90|p99)=(\d+(?:\.\d+)?)(us|ms|s)")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_DELAY = 0.25  # of the budget: what a request may wait for others
_FINALISTS = 3
_CONTENDERS = 2  # bundles and backends whose batch, workers and delay are searched ...
_HOPELESS = 0.5  # ... unless they are slower than this share of the best
_CLOSE = 0.1  # of the best rate: within it, a setting is tried again with the finalists


@dataclass(frozen=True)
class Budget:
    """How long an answer may take.

    Attributes:
        percentile: ``p50``, ``p90`` or ``p99``.
        seconds: within which so many percent of the answers come.
    """

    percentile: str
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """``p99=20ms``.

        Raises:
            UsageError: something else.
        """
        found = _BUDGET.fullmatch(text)
        if found is None or not float(found[2]):
            raise UsageError(f"--budget is '{text}', expected e.g. p99=20ms, p90=0.5s or p50=800us")
        return cls(found[1], float(found[2]) * _UNITS[found[3]])

    def __str__(self) -> str:
        return f"{self.percentile} within {self.seconds * 1000:g} ms"


@dataclass(frozen=True)
class Setting:
    """A way to serve a bundle.

    Attributes:
        name: the bundle's, see ``plan.open_bundles``.
        batch: rows that run together, at most.
        delay: seconds that a request may wait for others.
        workers: batches that run at once.
    """

    name: str
    bundle: Bundle = field(hash=False, compare=False)  # its name tells it already
    backend: str
    device: str
    batch: int
    delay: float = 0.0
    workers: int = 1

    def label(self) -> str:
        """For people."""
        words = f"{self.name}, {self.backend} {self.device}, batch {self.batch}"
        return f"{words}, delay {self.delay * 1000:g} ms, workers {self.workers}"

    def arguments(self) -> list[str]:
        """What ``dlkit serve`` is told, but for the bundle."""
        delay = f"{self.delay * 1000:g}"
        return [
            "--backend", self.backend, "--device", self.device, "--batch", str(self.batch),
            "--delay", delay, "--workers", str(self.workers),
        ]  # fmt: skip


@dataclass(frozen=True)
class Load:
    """What a server did under some load.

    Attributes:
        clients: that asked, each one request at a time.
        rate: answers a second.
        p50, p90, p99: seconds of an answer.
    """

    clients: int
    rate: float
    p50: float
    p90: float
    p99: float

    def within(self, budget: Budget) -> bool:
        """Whether it is inside."""
        return bool(getattr(self, budget.percentile) <= budget.seconds)


@dataclass(frozen=True)
class Trial:
    """What came of a setting.

    Attributes:
        load: the most inside the budget; or with one client, where that is outside.
        error: why there is none.
    """

    setting: Setting
    load: Load | None = None
    error: str = ""

    def rate(self, budget: Budget) -> float:
        """Inside the budget; 0 where it is outside."""
        return self.load.rate if self.load is not None and self.load.within(budget) else 0.0


Measure = Callable[[Setting], Trial]


def starts(
    bundles: Mapping[str, Bundle], settings: plan.Settings
) -> tuple[list[Setting], list[plan.LeftOut]]:
    """One setting for each bundle on each backend and device that can run it here.

    Raises:
        UsageError: the bundles are for different inputs, so no one of them can be chosen.
        BackendError: nothing can run them.
    """
    kinds = {
        (one.spec.task, str([part.dtype for part in one.spec.inputs])) for one in bundles.values()
    }
    if len(kinds) > 1:
        raise UsageError(
            f"{', '.join(bundles)} do different things", "Name forms of one model for --budget"
        )
    ways, left_out = plan.ways(bundles, settings, folder=False)
    found = {}
    for way in ways:
        batch = batches(way.bundle, way.device, settings.batches)[0]
        found[way.name, way.backend, way.device] = Setting(
            way.name, way.bundle, way.backend, way.device, batch
        )
    return list(found.values()), left_out


def batches(bundle: Bundle, device: str, given: Sequence[int]) -> list[int]:
    """Batches to try, the usual one first."""
    if given:
        return list(given)
    usual = TASKS.load(bundle.spec.task).batch[device]
    return list(dict.fromkeys([usual, 1, max(4, usual // 8), usual * 4]))


def search(
    begin: Iterable[Setting],
    budget: Budget,
    measure: Measure,
    rounds: int = 2,
    given: Sequence[int] = (),
) -> tuple[Trial | None, list[Trial]]:
    """The best setting inside the budget, if there is one; and all that were tried, best first.

    Args:
        begin: of each bundle, backend and device.
        rounds: in which those near the best are measured in turns; their median counts.
        given: batches to try.
    """
    trials: dict[Setting, Trial] = {}

    def tried(settings: Iterable[Setting]) -> list[Trial]:
        for one in settings:
            if one not in trials:
                trials[one] = measure(one)
        return sorted(trials.values(), key=lambda one: _merit(one, budget), reverse=True)

    def best(start: Setting) -> Setting:
        """Of its bundle on its backend."""
        own = (start.name, start.backend, start.device)
        ranked = (one.setting for one in tried(()))
        return next(one for one in ranked if (one.name, one.backend, one.device) == own)

    first = tried(begin)
    for trial in first[:_CONTENDERS]:
        start = trial.setting
        if trial.load is None or trial.rate(budget) < _HOPELESS * first[0].rate(budget):
            continue
        tried(replace(start, batch=one) for one in batches(start.bundle, start.device, given))
        several = [one for one in dict.fromkeys((2, cpu_count())) if one > 1]
        tried([replace(best(start), workers=one) for one in several])
        if best(start).batch > 1:
            tried([replace(best(start), delay=_DELAY * budget.seconds)])
    _again(trials, budget, measure, rounds)
    ranked = sorted(trials.values(), key=lambda one: _merit(one, budget), reverse=True)
    winner = ranked[0] if ranked and ranked[0].rate(budget) else None
    return winner, ranked


def _merit(trial: Trial, budget: Budget) -> tuple[float, float]:
    """Most a second inside the budget; where nothing is inside, the nearest to it."""
    if trial.load is None:
        return 0.0, float("-inf")
    return trial.rate(budget), -float(getattr(trial.load, budget.percentile))


def _again(trials: dict[Setting, Trial], budget: Budget, measure: Measure, rounds: int) -> None:
    """Measure those near the best again in turns, so that no lucky moment decides."""
    ranked = sorted(trials.values(), key=lambda one: one.rate(budget), reverse=True)
    near = [
        one.setting
        for one in ranked[:_FINALISTS]
        if one.rate(budget) and one.rate(budget) >= (1 - _CLOSE) * ranked[0].rate(budget)
    ]
    if len(near) < 2:
        return
    found = {one: [trials[one]] for one in near}
    for _ in range(rounds - 1):
        for one in near:
            found[one].append(measure(one))
    for one, each in found.items():
        each.sort(key=lambda trial: trial.rate(budget))
        trials[one] = each[(len(each) - 1) // 2]


def why_not(trial: Trial, winner: Trial | None, budget: Budget) -> str:
    """Why a setting lost, in words."""
    if trial.load is None:
        return trial.error
    spent = getattr(trial.load, budget.percentile)
    if not trial.load.within(budget):
        return f"{budget.percentile} is {spent * 1000:.3g} ms with one client"
    if winner is None or winner.load is None or trial is winner:
        return ""
    return f"{1 - trial.load.rate / winner.load.rate:.0%} fewer"


def to_json(
    budget: Budget, winner: Trial | None, trials: Sequence[Trial], left_out: Sequence[plan.LeftOut]
) -> dict[str, Any]:
    """Plain JSON values of a search."""

    def one(trial: Trial) -> dict[str, Any]:
        setting = trial.setting
        return {
            "bundle": setting.name, "path": str(setting.bundle.path), "backend": setting.backend,
            "device": setting.device, "batch": setting.batch, "delay_s": setting.delay,
            "workers": setting.workers, "load": trial.load and asdict(trial.load),
            "inside": bool(trial.rate(budget)), "why_not": why_not(trial, winner, budget),
        }  # fmt: skip

    return {
        "budget": asdict(budget),
        "best": winner and one(winner),
        "tried": [one(trial) for trial in trials],
        "left_out": [{"what": out.what, "reason": out.reason} for out in left_out],
    }
