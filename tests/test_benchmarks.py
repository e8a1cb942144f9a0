"""The scripts in benchmarks/ run and find that everybody agrees. Speeds are never asserted."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dlkit.mmwave.folder import write_pairs

from .conftest import untrained_run

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
QUICK = ("--rounds", "1", "--only", "dlkit|plain|Async|alone")


@pytest.mark.parametrize(
    ("arguments", "rows", "seen"),
    [
        (("digits.py", "--count", "40", *QUICK), 4, "% right"),
        (("denoise.py", "--count", "3", *QUICK), 3, "Processor time an image"),
        (("inference.py", "mmwave", "--count", "2", "--rounds", "1"), 2, "+0.000"),
        (("training.py", "--rounds", "1"), 3, "the article's loop"),
        (("memory.py", "--counts", "10,20", "--rounds", "1"), 2, "peak MB"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_a_table_with_every_contestant(arguments: tuple[str, ...], rows: int, seen: str) -> None:
    script, *options = arguments
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / script), *options],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(table) >= 2 + rows
    assert all(line.count("|") == table[0].count("|") for line in table)
    assert seen in done.stdout
    assert "processors" in done.stdout  # the machine is named below the table


def test_accuracy_over_seeds_goes_on_where_it_stopped(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "digit_accuracy.py"),
        "--data",
        "mnist-mini",
    ]
    command += ["--out", str(tmp_path), "--recipes", "mlp", "--set", "epochs=1", "--seeds"]
    for seeds, trained in ((["0"], 1), (["0", "1"], 1)):
        done = subprocess.run([*command, *seeds], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("minutes\n") == trained  # a finished run is not trained again
    found = json.loads((tmp_path / "accuracy.json").read_text())["recipes"]["mlp"]
    assert set(found["seeds"]) == {"0", "1"}
    assert found["test_accuracy"]["lowest"] <= found["test_accuracy"]["mean"]


def test_no_round_finds_the_work_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    contest = importlib.import_module("contest")
    out = tmp_path / "answers.csv"
    command = contest.dlkit("recognize", str(ROOT / "samples" / "digits"), "--out", out)
    start = contest.dlkit("--version")
    _, failed = contest.measure([contest.Contestant("dlkit", command, out, start)], 40, 1)
    assert not failed
    assert len(list(tmp_path.iterdir())) == 2  # dlkit leaves a manifest beside its answers
    contest._forget(out)
    assert not list(tmp_path.iterdir())


def test_files_of_others_are_converted_and_judged(tmp_path: Path) -> None:
    page, cache = tmp_path / "page.md", tmp_path / "cache"
    command = [sys.executable, str(ROOT / "benchmarks" / "foreign.py"), "--cache", str(cache)]
    command += ["--only", "^(sigmoid|logreg_iris)$", "--converters", "dlkit"]
    command += ["--steps", "valid,shares,rounded,onnxruntime", "--out", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads((cache / "results" / "sigmoid.json").read_text())
    steps = found["dlkit-fp16"]["steps"]
    assert steps["valid"]["ok"]
    assert steps["onnxruntime"]["ok"]
    assert steps["shares"]["multiply_adds"]["fp16"] > 0.95
    assert 0 < steps["rounded"]["mean"] < steps["rounded"]["largest"] < 0.1
    refused = json.loads((cache / "results" / "logreg_iris.json").read_text())["dlkit-fp16"]
    assert not refused["ok"]
    assert "BUG" not in refused["why"]
    text = page.read_text()
    assert "{{" not in text
    assert "| sigmoid |" in text
    assert "- logreg_iris: " in text  # what is refused is listed with the reason


def test_a_difference_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    judge = importlib.import_module("foreign_judge")
    wanted = [{"y": np.array([1.0, -4.0, np.inf], np.float32), "label": np.array([3, 4])}]
    same = judge.compare(wanted, wanted)
    assert same == {"mean": 0.0, "largest": 0.0, "broken": 0}
    other = [{"y": np.array([1.0, -3.0, np.nan], np.float32), "label": np.array([3, 5])}]
    found = judge.compare(wanted, other)
    assert found["broken"] == 1
    assert found["largest"] == 1.0
    assert found["mean"] == 0.5  # of the labels
    shapes = judge.compare(wanted, [{"y": np.zeros(2, np.float32), "label": np.array([3, 4])}])
    assert shapes["mean"] is None


def test_generators_beside_what_they_are_compared_with(tmp_path: Path) -> None:
    write_pairs(tmp_path / "real", range(2), (64, 64), workers=1)
    out = tmp_path / "generative.json"
    run = untrained_run(tmp_path, "gan")
    (run / "log.jsonl").write_text('{"event": "epoch", "device": "cpu", "seconds": 90.0}\n')
    words = ["mmwave", "digit_maker", run, "--real", tmp_path / "real", "--data", "mnist-mini",
             "--count", 8, "--out", out]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "generative.py"), *map(str, words)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads(out.read_text())}
    assert rows["gan"]["minutes"] == 1.5
    assert rows["gan"]["seed"] == 7
    assert rows["real digits"]["label_accuracy"] > 0.9
    for method in ("raw scan", "fixed levels curve", "mmwave"):
        assert rows[method]["real_psnr"] > 0
    assert rows["mmwave"]["psnr"] > rows["raw scan"]["psnr"]
    assert "| `digit_maker`, the shipped `cgan` |" in done.stdout
