"""Shards on a Ray cluster of three nodes on this machine, one of which is killed."""

from __future__ import annotations

import json
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

# A process of its own: Ray leaves threads and warnings behind.
CLUSTER = """
import json, os, pathlib, subprocess, sys, time
from ray.cluster_utils import Cluster

out, kill, arguments = pathlib.Path(sys.argv[1]), sys.argv[2] == "kill", sys.argv[3:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
cluster.wait_for_nodes()
code = (
    "from dlkit.runtime.folders import shards; shards.KEYS = 6; "
    "from dlkit.__main__ import main; main()"
)
command = [sys.executable, "-c", code, *arguments, "--ray", cluster.address]
run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
if kill:
    while run.poll() is None and not list(out.rglob("done/*.jsonl")):
        time.sleep(0.05)
    begun = run.poll() is None
    cluster.remove_node(nodes[0], allow_graceful=False)
error = run.communicate()[1]
print(json.dumps({"code": run.returncode, "error": error, "killed": kill and begun}))
cluster.shutdown()
"""


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def on_cluster(out: Path, kill: bool, *arguments: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER, out, "kill" if kill else "", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.long
def test_a_node_that_dies_costs_only_its_shards(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    noise = np.random.default_rng(0)
    for index in range(60):
        scan = noise.integers(0, 256, (128, 96), dtype=np.uint8)
        cv2.imwrite(str(scans / f"{index:02d}.png"), scan)
    (scans / "bad.png").write_bytes(b"nonsense")
    assert dlkit("denoise", scans, "--out", tmp_path / "a").exit_code == 1
    out = tmp_path / "b"
    found = on_cluster(out, True, "denoise", scans, "--out", out)
    assert found["killed"], "it was done before a node could be killed"
    assert found["code"] == 1, found["error"]  # the damaged file
    assert "60 done, 1 failed" in found["error"]
    for path in (tmp_path / "a").glob("*.png"):
        assert (out / path.name).read_bytes() == path.read_bytes()
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == len({line["file"] for line in lines}) == 61


def test_what_cannot_be(tmp_path: Path, scans_folder: Path) -> None:
    arguments = ("denoise", scans_folder, "--out", tmp_path / "out", "--ray", "127.0.0.1:1")
    assert isinstance(dlkit(*arguments, "--shard", "0/2").exception, UsageError)
    assert isinstance(dlkit(*arguments, "--watch").exception, UsageError)
