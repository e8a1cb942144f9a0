"""Runs that are cut into shards: by several processes, killed, joined; as one run would end."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import DlkitError, UsageError
from dlkit.runtime.folders import shards

from .test_folder_runs import rows


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def sharded(*arguments: object, parts: int = 3) -> Any:
    """All parts in turn, then the join; gives that."""
    for part in range(parts):
        done = dlkit(*arguments, "--shard", f"{part}/{parts}")
        assert done.exit_code in (0, 1), (done.output, done.exception)
    return dlkit(*arguments, "--shard", "join")


def kept(path: Path) -> list[dict[str, Any]]:
    """A manifest's lines of files, without dates and places, in their order."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    names = ("file", "status", "bytes", "written", "digit", "probability")
    return [
        {name: line[name] for name in names if name in line} for line in lines if "file" in line
    ]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of few inputs."""
    monkeypatch.setattr(shards, "KEYS", 7)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """30 small scans, one in a folder below, and one that is none."""
    target = tmp_path / "scans"
    (target / "below").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for index in range(30):
        scan = noise.integers(0, 256, (96, 64), dtype=np.uint8)
        cv2.imwrite(str(target / ("below" if index == 7 else ".") / f"{index:02d}.png"), scan)
    (target / "bad.png").write_bytes(b"nonsense")
    return target


def outputs(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.jsonl"
    }


@pytest.mark.long
def test_joined_shards_are_one_run(
    small: None, digits_folder: Path, scans: Path, tmp_path: Path
) -> None:
    assert dlkit("recognize", digits_folder, "--out", tmp_path / "a.csv").exit_code == 0
    done = sharded("recognize", digits_folder, "--out", tmp_path / "b.csv")
    assert done.exit_code == 0, done.output
    assert "60 done, 0 failed" in done.output
    assert rows(tmp_path / "b.csv") == rows(tmp_path / "a.csv")
    one, other = (kept(tmp_path / f"{name}.csv.manifest.jsonl") for name in "ab")
    assert sorted(one, key=str) == sorted(other, key=str)
    assert dlkit("denoise", scans, "--out", tmp_path / "a").exit_code == 1
    done = sharded("denoise", scans, "--out", tmp_path / "b")
    assert done.exit_code == 1
    assert "30 done, 1 failed" in done.output
    assert "bad.png" in done.output
    assert outputs(tmp_path / "b") == outputs(tmp_path / "a")
    assert not list((tmp_path / "b").rglob("*shards*"))


@pytest.mark.long
def test_a_second_plan_does_what_is_new(small: None, scans: Path, tmp_path: Path) -> None:
    arguments = ("denoise", scans, "--out", tmp_path / "out")
    sharded(*arguments)
    (scans / "bad.png").unlink()
    shutil.copy(scans / "00.png", scans / "01.png")
    shutil.copy(scans / "00.png", scans / "new.png")
    (tmp_path / "out" / "02.png").unlink()
    done = sharded(*arguments)
    assert "28 done before, 3 done, 0 failed" in done.output
    assert done.exit_code == 0
    found = outputs(tmp_path / "out")
    assert len(found) == 31
    assert found["new.png"] == found["01.png"] == found["00.png"]
    # one run goes on from there, and a plan with --overwrite begins anew
    again = dlkit("denoise", f"file://{scans}", "--out", f"file://{tmp_path}/out")
    assert "31 done before, 0 done" in again.output
    assert dlkit(*arguments, "--shard", "plan", "--overwrite").exit_code == 0
    assert "31 done, 0 failed" in sharded(*arguments).output


def test_a_shard_is_done_once_whoever_runs_it(small: None, scans: Path, tmp_path: Path) -> None:
    arguments = ("denoise", scans, "--out", tmp_path / "out")
    planned = dlkit(*arguments, "--shard", "plan")
    assert "31 inputs in 5 shards" in planned.output
    assert dlkit(*arguments, "--shard", "0/2").exit_code in (0, 1)
    records = {path: path.read_bytes() for path in (tmp_path / "out").rglob("done/*.jsonl")}
    assert len(records) == 3
    refused = dlkit(*arguments, "--shard", "join").exception
    assert isinstance(refused, UsageError)
    assert "2 of 5 shards are not done: 1, 3" in str(refused)
    dates = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert dlkit(*arguments, "--shard", "0/1").exit_code == 1
    assert {path: path.read_bytes() for path in records} == records
    assert {path: path.stat().st_mtime_ns for path in dates} == dates
    assert dlkit(*arguments, "--shard", "join").exit_code == 1
    again = dlkit(*arguments, "--shard", "join").exception
    assert "there is no plan" in str(again)


@pytest.mark.long
def test_a_plan_is_of_one_model(small: None, scans: Path, tmp_path: Path) -> None:
    arguments = ("denoise", scans, "--out", tmp_path / "out")
    assert dlkit(*arguments, "--shard", "plan").exit_code == 0
    other = dlkit(*arguments, "--shard", "0/1", "--backend", "openvino").exception
    assert isinstance(other, UsageError)
    assert "is for other inputs, another model, backend or setting" in str(other)
    (tmp_path / "scans2").mkdir()
    shutil.copy(scans / "00.png", tmp_path / "scans2")
    for shard in ("0/1", "join"):
        elsewhere = dlkit("denoise", tmp_path / "scans2", *arguments[2:], "--shard", shard)
        assert isinstance(elsewhere.exception, UsageError)
    assert isinstance(
        dlkit(*arguments, "--shard", "0/1", "--follow-symlinks").exception, UsageError
    )
    for shard in ("3/3", "1", "-1/2", "x", "0/0"):
        assert isinstance(dlkit(*arguments, "--shard", shard).exception, DlkitError)
    for more in ("--overwrite", "--watch", "--dry-run", "--fail-fast"):
        assert isinstance(dlkit(*arguments, "--shard", "0/2", more).exception, UsageError)


def test_what_others_wrote_stays(small: None, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "03.png").write_bytes(b"mine")
    done = sharded("denoise", scans, "--out", out)
    assert "29 done, 2 failed" in done.output
    assert (out / "03.png").read_bytes() == b"mine"


@pytest.mark.long
def test_three_processes_that_are_killed(scans: Path, tmp_path: Path) -> None:
    """Kill -9 at random moments, in shards and in the join."""
    assert dlkit("denoise", scans, "--out", tmp_path / "a").exit_code == 1
    code = (
        "import sys; from dlkit.runtime.folders import shards; shards.KEYS = 4; "
        "from dlkit.__main__ import main; main()"
    )

    def start(shard: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable, "-c", code, "denoise", str(scans), "--out", str(tmp_path / "b"),
                "--workers", "1", "--shard", shard,
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    dice = random.Random(1)
    for _ in range(2):
        running = [start(f"{part}/3") for part in range(3)]
        while len(list((tmp_path / "b").rglob("*.png"))) < 3 and any(
            one.poll() is None for one in running
        ):
            time.sleep(0.02)
        time.sleep(dice.uniform(0, 0.5))
        for one in running:
            one.send_signal(signal.SIGKILL)
            one.wait()
    for one in [start(f"{part}/3") for part in range(3)]:
        assert one.wait() in (0, 1)
    join = start("join")
    time.sleep(dice.uniform(0.5, 2.0))
    join.kill()
    join.wait()
    if (tmp_path / "b" / "manifest.shards").exists():
        assert start("join").wait() == 1
    assert outputs(tmp_path / "b") == outputs(tmp_path / "a")
    lines = kept(tmp_path / "b" / "manifest.jsonl")
    assert len(lines) == len({line["file"] for line in lines}) == 31
