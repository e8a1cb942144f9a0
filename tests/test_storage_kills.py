"""20,000 digits and 300 scans in a bucket: killed ten times each, in three processes, and as a
folder run ends."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.mmwave import simulate
from dlkit.tasks.recognize.datasets import load_labelled

from .stores import BUCKET, client, contents, environment, served

KILLS = 10


def inputs(folder: Path) -> None:
    digits = load_labelled("mnist-mini").test_images
    for name in ("digits", "scans"):
        (folder / name).mkdir(parents=True)
    for index in range(20_000):
        image = digits[index % len(digits)].copy()
        image[0, 0], image[0, 1] = index % 256, index // 256  # no two are alike
        cv2.imwrite(str(folder / "digits" / f"{index:05d}.png"), image)
    for index in range(300):
        cv2.imwrite(str(folder / "scans" / f"{index:03d}.png"), simulate(index, (192, 128)).noisy)


def rows(data: bytes) -> list[list[str]]:
    return sorted(csv.reader(data.decode().splitlines()))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_killed_at_ten_random_moments_and_in_shards(tmp_path: Path) -> None:
    inputs(tmp_path / "rclone" / BUCKET)
    folder, url = tmp_path / "rclone" / BUCKET, f"s3://{BUCKET}"
    wanted: dict[str, bytes] = {}
    for arguments in (
        ["recognize", folder / "digits", "--out", tmp_path / "digits.csv"],
        ["denoise", folder / "scans", "--out", tmp_path / "scans"],
    ):
        assert CliRunner().invoke(app, list(map(str, arguments))).exit_code == 0
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "scans").glob("*.png")}
    dice = random.Random(0)
    with served("rclone", tmp_path / "rclone") as port:
        for command, out in (
            (["recognize", f"{url}/digits", "--out", f"{url}/out/digits.csv"], "digits.csv"),
            (["denoise", f"{url}/scans", "--out", f"{url}/out/scans"], "scans/"),
        ):
            place = out.rpartition("/")[0]
            kills, seconds = 0, 20.0
            while kills < KILLS:
                run = subprocess.Popen(
                    [sys.executable, "-m", "dlkit", *command],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env={**os.environ, **environment(port)},
                )  # fmt: skip
                begun, after = time.monotonic(), dice.uniform(0, seconds)
                while run.poll() is None and time.monotonic() - begun < after:
                    time.sleep(0.02)
                if run.poll() is not None:  # it was done: shorter, and begin anew
                    assert run.returncode == 0
                    seconds /= 2
                    for key in contents(client(port), "out"):
                        if key.startswith((out, place or out)):
                            client(port).delete(f"out/{key}")
                    continue
                run.kill()
                run.wait()
                kills += 1
            done = subprocess.run(
                [sys.executable, "-m", "dlkit", *command], capture_output=True, text=True,
                env={**os.environ, **environment(port)},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        for name, out in (("digits", "digits.csv"), ("scans", "scans")):
            in_three_processes(name, out, environment(port))
        for place in ("out", "sharded"):
            check(contents(client(port), place), tmp_path, wanted)


def in_three_processes(name: str, out: str, store: dict[str, str]) -> None:
    """Each a third of the shards, all at once; then they are joined."""
    url, command = f"s3://{BUCKET}", {"digits": "recognize", "scans": "denoise"}[name]
    arguments = [sys.executable, "-m", "dlkit", command, f"{url}/{name}", "--out",
                 f"{url}/sharded/{out}", "--shard"]  # fmt: skip
    running = [
        subprocess.Popen(
            [*arguments, f"{part}/3"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, **store},
        )
        for part in range(3)
    ]  # fmt: skip
    assert [one.wait() for one in running] == [0, 0, 0]
    joined = subprocess.run(
        [*arguments, "join"], capture_output=True, text=True, env={**os.environ, **store}
    )
    assert joined.returncode == 0, joined.stderr


def check(found: dict[str, bytes], tmp_path: Path, wanted: dict[str, bytes]) -> None:
    """Nothing is missing, doubled or half."""
    assert rows(found.pop("digits.csv")) == rows((tmp_path / "digits.csv").read_bytes())
    for name, count in (("digits.csv.manifest.jsonl", 20_000), ("scans/manifest.jsonl", 300)):
        noted = [json.loads(line) for line in found.pop(name).splitlines()]
        lines = [line for line in noted if "file" in line]  # not what the table was
        assert len({line["file"] for line in lines}) == count
        assert all(line["status"] == "done" for line in lines)
    scans = {name.removeprefix("scans/"): data for name, data in found.items()}
    # names, not bytes: pytest would draw the difference of megabytes
    assert sorted(scans) == sorted(wanted)
    assert [name for name, data in wanted.items() if scans[name] != data] == []
    assert len(wanted) == 300
    assert np.std([len(data) for data in wanted.values()]) > 0
