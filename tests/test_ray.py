"""Shards on a Ray cluster of three nodes on this machine, one of which is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import UsageError

from .stores import BUCKET, client, contents, environment, served
from .test_storage_kills import inputs, rows

SLOW = {"RAY_raylet_start_wait_time_s": "300"}  # of a machine that is busy
# A process of its own: Ray leaves threads and warnings behind.
CLUSTER = """
import json, os, pathlib, subprocess, sys, time
from ray.cluster_utils import Cluster

out, kill, keys, arguments = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]

def started(start):
    for attempt in range(4):  # Ray gives up soon on a machine that is busy
        try:
            return start()
        except Exception:
            if attempt == 3:
                raise

cluster = started(lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 0}))
nodes = [started(lambda: cluster.add_node(num_cpus=1)) for _ in range(3)]
cluster.wait_for_nodes()
code = (
    f"from dlkit.runtime.folders import shards; shards.KEYS = {keys}; "
    "from dlkit.__main__ import main; main()"
)
command = [sys.executable, "-c", code, *arguments, "--ray", cluster.address]

def recorded():
    # The store makes and removes folders meanwhile: os.walk passes over those, rglob does not.
    return any(
        folder.endswith("/done") and any(name.endswith(".jsonl") for name in files)
        for folder, _, files in os.walk(out)
    )

run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
while run.poll() is None and not recorded():
    time.sleep(0.05)
begun = run.poll() is None
if kill == "node":
    cluster.remove_node(nodes[0], allow_graceful=False)
else:
    run.kill()
    run.communicate()
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
error = run.communicate()[1]
print(json.dumps({"code": run.returncode, "error": error, "killed": begun}))
cluster.shutdown()
"""


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def on_cluster(
    out: Path, kill: str, keys: int, *arguments: object, port: int | None = None
) -> dict[str, Any]:
    """Run a command on a cluster.

    Args:
        out: where the first record of a shard is waited for; then somebody is killed.
        kill: ``node``; or ``driver``, which is started again.
        keys: inputs of a shard.
        port: of a store.
    """
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER, out, kill, str(keys), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **SLOW, **({} if port is None else environment(port))},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.long
@pytest.mark.parametrize("kill", ["node", "driver"])
def test_who_is_killed_costs_only_what_ran(kill: str, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    noise = np.random.default_rng(0)
    for index in range(60):
        scan = noise.integers(0, 256, (128, 96), dtype=np.uint8)
        cv2.imwrite(str(scans / f"{index:02d}.png"), scan)
    (scans / "bad.png").write_bytes(b"nonsense")
    assert dlkit("denoise", scans, "--out", tmp_path / "a").exit_code == 1
    out = tmp_path / "b"
    found = on_cluster(out, kill, 6, "denoise", scans, "--out", out)
    assert found["killed"], "it was done before anybody could be killed"
    assert found["code"] == 1, found["error"]  # the damaged file
    assert "60 done, 1 failed" in found["error"]
    for path in (tmp_path / "a").glob("*.png"):
        assert (out / path.name).read_bytes() == path.read_bytes()
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["file"] for line in lines}) == 61


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_twenty_thousand_digits_and_three_hundred_scans_in_a_bucket(tmp_path: Path) -> None:
    """One of three nodes is killed in the middle of each; then as a folder run ends."""
    folder, url = tmp_path / "rclone" / BUCKET, f"s3://{BUCKET}"
    inputs(folder)
    for arguments in (
        ["recognize", folder / "digits", "--out", tmp_path / "digits.csv"],
        ["denoise", folder / "scans", "--out", tmp_path / "scans"],
    ):
        assert dlkit(*arguments).exit_code == 0
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "scans").glob("*.png")}
    with served("rclone", tmp_path / "rclone") as port:
        for out, keys, command, name in (
            ("out/digits.csv", 2000, "recognize", "digits"), ("out/scans", 30, "denoise", "scans"),
        ):  # fmt: skip
            found = on_cluster(
                folder / "out", "node", keys, command, f"{url}/{name}", "--out", f"{url}/{out}",
                port=port,
            )  # fmt: skip
            assert found["killed"], "it was done before a node could be killed"
            assert found["code"] == 0, found["error"]
        objects = contents(client(port), "out")
    assert rows(objects.pop("digits.csv")) == rows((tmp_path / "digits.csv").read_bytes())
    for name, count in (("digits.csv.manifest.jsonl", 20_000), ("scans/manifest.jsonl", 300)):
        noted = [json.loads(line) for line in objects.pop(name).splitlines()]
        lines = [line for line in noted if "file" in line]  # not what the table was
        assert len(lines) == len({line["file"] for line in lines}) == count
        assert all(line["status"] == "done" for line in lines)
    assert {name.removeprefix("scans/"): data for name, data in objects.items()} == wanted
    assert len(wanted) == 300


def test_what_cannot_be(tmp_path: Path, scans_folder: Path) -> None:
    arguments = ("denoise", scans_folder, "--out", tmp_path / "out", "--ray", "127.0.0.1:1")
    assert isinstance(dlkit(*arguments, "--shard", "0/2").exception, UsageError)
    assert isinstance(dlkit(*arguments, "--watch").exception, UsageError)
