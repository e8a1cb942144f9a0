"""dlkit bench --budget: the way to serve a model that gives most within a latency."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dlkit.bench.budget import Budget, Load, Setting, Trial, search, to_json, why_not
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import UsageError

BUDGET = Budget("p99", 0.02)


def begin() -> list[Setting]:
    bundle = Bundle.open("digits")
    return [Setting("digits", bundle, backend, "cpu", 64) for backend in ("one", "other", "none")]


def made_up(setting: Setting) -> Trial:
    """A machine on which ``other`` with batches of 8 and two workers is the best that is quick."""
    if setting.backend == "none":
        return Trial(setting, None, "it does not start")
    seconds = 0.001 * setting.batch + setting.delay + 0.004
    rate = {"one": 500.0, "other": 800.0}[setting.backend]
    rate *= min(setting.batch, 8) / 8 * min(setting.workers, 2)
    return Trial(setting, Load(8, rate, seconds / 2, seconds / 1.5, seconds))


def test_the_most_inside_the_budget_is_found() -> None:
    measured = []

    def measure(setting: Setting) -> Trial:
        measured.append(setting)
        return made_up(setting)

    winner, trials = search(begin(), BUDGET, measure)
    assert winner is not None
    found = winner.setting
    assert (found.backend, found.batch, found.delay) == ("other", 8, 0.0)
    assert found.workers >= 2
    assert trials[0] is winner
    assert len(trials) == len({one.setting for one in trials})
    whys = {one.setting: why_not(one, winner, BUDGET) for one in trials}
    assert whys[begin()[0]] == "p99 is 68 ms with one client"
    assert whys[begin()[2]] == "it does not start"
    assert whys[found] == ""
    alone = replace(begin()[1], batch=1)
    assert whys[alone] == "94% fewer"
    # nothing beside the budget is ever the best, however fast
    assert winner.load is not None
    assert winner.load.p99 <= BUDGET.seconds
    result = json.loads(json.dumps(to_json(BUDGET, winner, trials, [])))
    assert result["best"]["batch"] == 8
    assert len(result["tried"]) == len(trials)


def test_nothing_inside_a_budget_that_cannot_be() -> None:
    winner, trials = search(begin(), Budget("p50", 1e-6), made_up)
    assert winner is None
    assert trials[0].setting.batch == 1  # the nearest
    assert "ms with one client" in why_not(trials[0], None, Budget("p50", 1e-6))


def test_a_lucky_moment_does_not_decide() -> None:
    """What is near the best is measured again."""
    seen: dict[Setting, int] = {}

    def measure(setting: Setting) -> Trial:
        seen[setting] = seen.get(setting, 0) + 1
        found = made_up(setting)
        if found.load is None or setting.backend != "one":
            return found
        better = 1.65 if seen[setting] == 1 else 1.5  # 825 and 750, beside 800
        return replace(found, load=replace(found.load, rate=found.load.rate * better))

    winner, _ = search(begin(), Budget("p99", 1.0), measure, rounds=3)
    assert winner is not None
    assert max(seen.values()) == 3
    assert winner.setting.backend == "other"


@pytest.mark.parametrize(
    "text", ["p99", "p98=1ms", "p99=0ms", "p99=-1ms", "p99=1h", "20ms", "p99=1 ms"]
)
def test_budgets_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected e\.g\. p99=20ms"):
        Budget.parse(text)
    found = CliRunner().invoke(app, ["bench", "digits", "--budget", text])
    assert isinstance(found.exception, UsageError)


def test_what_does_not_go_with_a_budget(tmp_path: Path) -> None:
    for more in (["--html", str(tmp_path / "x")], ["mmwave"], ["--threads", "1"]):
        found = CliRunner().invoke(app, ["bench", "digits", "--budget", "p99=1s", *more])
        assert isinstance(found.exception, UsageError), more
    assert isinstance(
        CliRunner().invoke(app, ["bench", "--budget", "p99=1s"]).exception, UsageError
    )


@pytest.mark.long
def test_real_servers(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    arguments = [
        "bench", "digits", "--backend", "onnxruntime", "--batches", "8", "--seconds", "0.1",
        "--rounds", "1", "--json", str(file),
    ]  # fmt: skip
    found = CliRunner().invoke(app, [*arguments, "--budget", "p99=60s"])
    assert found.exit_code == 0, (found.output, found.exception)
    line = found.output.strip().splitlines()[-1]
    assert line.startswith("dlkit serve digits --backend onnxruntime --device cpu --batch 8")
    result = json.loads(file.read_text())
    assert result["best"]["load"]["rate"] > 0
    assert result["best"]["inside"]
    assert {one["workers"] for one in result["tried"]} >= {1, 2}
    assert any(one["delay_s"] == 15.0 for one in result["tried"])
    nothing = CliRunner().invoke(app, [*arguments, "--overwrite", "--budget", "p50=1us"])
    assert nothing.exit_code == 1
    assert "nothing answers p50 within 0.001 ms" in nothing.output
    found_nothing = json.loads(file.read_text())
    assert found_nothing["best"] is None
    assert all("ms with one client" in one["why_not"] for one in found_nothing["tried"])
