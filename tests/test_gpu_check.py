"""The parts of the GPU benchmark that need no GPU; that part is run by make gpu-check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import gpu_check
import gpu_table
import pytest

from dlkit.errors import BackendError

ROOT = Path(__file__).parent.parent


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert gpu_table.percentile(values, 0.5) == 50
    assert gpu_table.percentile(values, 0.99) == 99
    assert gpu_table.percentile([3.0], 0.5) == gpu_table.percentile([3.0], 0.99) == 3
    assert gpu_table.percentile([1.0, 2.0, 9.0], 0.99) == 9


def test_a_row_holds_what_its_names_say() -> None:
    latencies = [0.002] * 98 + [0.004, 0.010]
    row = gpu_table.row("lenet", "tensorrt", 16, latencies, 8000.0, 0.001, 1e6, 1e12)
    assert (row.p50_ms, row.p99_ms, row.share) == (2.0, 4.0, pytest.approx(0.008))


def test_calls_are_timed_one_by_one() -> None:
    calls = 0

    def call() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.001)

    times = gpu_table.time_calls(call, 0.02)
    assert len(times) >= 10
    assert calls >= len(times) + 5
    assert all(0.001 <= one < 1 for one in times)


def test_throughput_keeps_one_batch_ahead() -> None:
    log: list[str] = []

    class Ticket:
        def result(self) -> None:
            log.append("result")

    class Session:
        def submit(self, pixels: object) -> Ticket:
            log.append("submit")
            return Ticket()

    assert gpu_table.throughput(Session(), [0, 0], 0.0) > 0
    assert log[:4] == ["submit", "submit", "result", "submit"]
    assert log.count("submit") == log.count("result") == 10


def test_table_has_the_numbers_and_the_reasons(tmp_path: Path) -> None:
    rows = [
        gpu_table.row("lenet", "tensorrt", 64, [0.001] * 10, 64000.0, 0.00123, 1e6, 1e13),
        gpu_table.failed("lenet", "onnxruntime", 1, BackendError("no CUDA here | none\nmore")),
        gpu_table.failed("vgg", "onnxruntime", 1, BackendError("no CUDA here | none")),
        gpu_table.failed("vgg", "torch.compile", 1, RuntimeError("x" * 500)),
    ]
    gpu_table.write(tmp_path / "new", {"card": "GPU"}, rows)
    text = (tmp_path / "new" / "gpu.md").read_text()
    assert "- card: GPU" in text
    assert "| lenet | tensorrt | 64 | 64,000 | 1 | 1 | 0.00123 | 0.6 % |" in text
    assert "| onnxruntime | no CUDA here / none | lenet x1, vgg x1 |" in text
    assert "RuntimeError: xxx" in text
    assert max(map(len, text.splitlines())) < 400
    data = json.loads((tmp_path / "new" / "gpu.json").read_text())
    assert [row["reason"] is None for row in data["rows"]] == [True, False, False, False]
    assert not list((tmp_path / "new").glob(".*"))


def test_what_is_missing_becomes_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_backend(name: str, subject: object, batches: list[int]) -> object:
        raise BackendError(f"no {name}")

    monkeypatch.setattr(gpu_check, "open_backend", open_backend)
    subject = gpu_check.Subject("lenet", None, lambda network: network, None, None, 1.0, None)
    rows = list(gpu_check.measure("tensorrt", subject, [1, 16], 0.0, 1e12))
    assert [(row.batch, row.reason) for row in rows] == [(1, "no tensorrt"), (16, "no tensorrt")]


def test_without_a_gpu_it_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_check.py"), "--out", str(tmp_path)]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=hidden, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("gpu-check measures nothing here: ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
