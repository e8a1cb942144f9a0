"""Training on two machines: two torchruns that share nothing but a network address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dlkit.training.engine.run import Run

from .stores import free_port

ROOT = Path(__file__).parent.parent
DATA = ["--data", "mnist-mini", "--set", "epochs=1", "--set", "batch_size=200"]


def machine(folder: Path, address: str, port: int, *more: str) -> subprocess.Popen[str]:
    """One of two, with a folder of its own."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1",
            "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "test",
            "--local-addr", address, "-m", "dlkit", "train", "lenet_relu", *DATA, "--out", "run",
            *more,
        ],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.long
def test_two_machines_give_the_curve_of_one(tmp_path: Path) -> None:
    port = free_port()
    both = [
        machine(tmp_path / name, address, port)
        for name, address in (("a", "127.0.0.1"), ("b", "127.0.0.2"))
    ]
    said = [one.communicate(timeout=400) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    # the first process alone writes, and whoever joins first has it
    (first,) = (tmp_path / name for name in "ab" if (tmp_path / name / "run").exists())
    assert sum(error.count("test accuracy") for _, error in said) == 1
    alone = subprocess.run(
        [sys.executable, "-m", "dlkit", "train", "lenet_relu", *DATA, "--out", "run"],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    mine, its = log(first / "run"), log(tmp_path / "run")
    assert (mine[0]["processes"], its[0]["processes"]) == (2, 1)
    assert mine[-1]["test_accuracy"] == pytest.approx(its[-1]["test_accuracy"], abs=0.01)
    losses = [[entry["loss"] for entry in entries if "loss" in entry] for entries in (mine, its)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    weights = [Run(one).load_checkpoint()["network"] for one in (first / "run", tmp_path / "run")]
    gaps = [float((weights[0][key] - weights[1][key]).abs().max()) for key in weights[0]]
    assert max(gaps) < 0.01
    assert torch.isfinite(weights[0][next(iter(weights[0]))]).all()
