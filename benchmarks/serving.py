"""dlkit serve beside other servers, and beside the session alone: one interleaved run.

    python benchmarks/serving.py LENET-BUNDLE [--env litserve=/path/to/env ...] [--seconds 3]

Each peer needs an environment of its own with itself and onnxruntime; one that has none is left
out, and the table says so. All run the same ONNX file on ONNX Runtime with as many threads; the
load comes from a process of its own (dlkit/bench/load.py). docs/serving.md has the figures.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

HERE = Path(__file__).parent
HEADER = "Inference-Header-Content-Length"
ROWS = (1, 32)
CLIENTS = (1, 8, 64)
SCAN = (688, 384)  # 678 x 384, as the graph takes it
_START = 90.0  # seconds that a server may take


@dataclass
class Way:
    """One server, asked in one way.

    Attributes:
        command: starts it.
        path: asked.
        body: for some rows, and the headers that go with it.
    """

    name: str
    command: list[str]
    path: str
    body: Callable[[np.ndarray[Any, Any]], tuple[bytes, list[str]]]
    port: int
    env: dict[str, str] = field(default_factory=dict)


def protocol_json(x: np.ndarray[Any, Any], name: str = "pixels") -> tuple[bytes, list[str]]:
    """The Open Inference Protocol in JSON."""
    one = {"name": name, "datatype": "UINT8", "shape": x.shape, "data": x.ravel().tolist()}
    return json.dumps({"inputs": [one]}).encode(), ["Content-Type: application/json"]


def protocol_binary(x: np.ndarray[Any, Any], name: str = "pixels") -> tuple[bytes, list[str]]:
    """The same with binary tensors, both ways."""
    one = {"name": name, "datatype": "UINT8", "shape": x.shape,
           "parameters": {"binary_data_size": x.nbytes}}  # fmt: skip
    head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    return head + x.tobytes(), [f"{HEADER}: {len(head)}"]


def in_base64(x: np.ndarray[Any, Any]) -> tuple[bytes, list[str]]:
    """For LitServe."""
    data = {"data": base64.b64encode(x.tobytes()).decode(), "shape": x.shape}
    return json.dumps(data).encode(), ["Content-Type: application/json"]


def nested(x: np.ndarray[Any, Any]) -> tuple[bytes, list[str]]:
    """For BentoML."""
    return json.dumps({"x": x.tolist()}).encode(), ["Content-Type: application/json"]


def raw(x: np.ndarray[Any, Any]) -> tuple[bytes, list[str]]:
    """For Ray Serve."""
    return x.tobytes(), ["Content-Type: application/octet-stream"]


def ways(bundle: Path, envs: dict[str, Path], threads: int, scratch: Path) -> list[Way]:
    """All servers whose environments there are."""
    graph, port = str(bundle / "model.onnx"), 18000
    serve = [sys.executable, "-m", "dlkit", "serve", f"lenet={bundle}", "--grpc-port", "-1",
             "--backend", "onnxruntime", "--port"]  # fmt: skip
    infer = "/v2/models/lenet/infer"
    peers = HERE / "serving_peers"
    own = {"BENCH_GRAPH": graph, "BENCH_THREADS": str(threads), "PYTHONPATH": str(peers)}
    found = [
        Way("dlkit, binary", [*serve, str(port)], infer, protocol_binary, port),
        Way("dlkit, JSON", [*serve, str(port + 1)], infer, protocol_json, port + 1),
    ]
    if (env := envs.get("litserve")) is not None:
        script = [str(env / "bin/python"), str(peers / "litserve_app.py")]
        arguments = [graph, str(port + 2), str(threads)]
        found.append(Way("LitServe", [*script, *arguments], "/predict", in_base64, port + 2))
    if (env := envs.get("bentoml")) is not None:
        command = [str(env / "bin/bentoml"), "serve", "bentoml_app:Graph", "--port",
                   str(port + 3), "--host", "127.0.0.1"]  # fmt: skip
        found.append(Way("BentoML", command, "/infer", nested, port + 3, own))
    if (env := envs.get("mlserver")) is not None:
        settings: dict[str, Any] = {
            "http_port": port + 4,
            "grpc_port": port + 14,
            "metrics_port": port + 24,
        }
        settings["parallel_workers"] = 0  # those of 1.7.1 do not start with today's uvloop
        (scratch / "settings.json").write_text(json.dumps({**settings, "host": "127.0.0.1"}))
        model = {"name": "lenet", "implementation": "mlserver_app.Graph", "max_batch_size": 64,
                 "max_batch_time": 0.002}  # fmt: skip
        (scratch / "model-settings.json").write_text(json.dumps(model))
        command = [str(env / "bin/mlserver"), "start", str(scratch)]
        found.append(Way("MLServer", command, infer, protocol_json, port + 4, own))
    if (env := envs.get("ray")) is not None:
        script = [str(env / "bin/python"), str(peers / "ray_app.py")]
        arguments = [graph, str(port + 5), str(threads)]
        found.append(Way("Ray Serve", [*script, *arguments], "/infer", raw, port + 5))
    return found


@contextlib.contextmanager
def running(way: Way, log: Path) -> Iterator[int]:
    """A server that answers its first request; its process."""
    with log.open("wb") as file:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", **way.env}
        process = subprocess.Popen(
            way.command, stdout=file, stderr=file, env=environment, start_new_session=True,
            cwd=log.parent,
        )  # fmt: skip
        try:
            wait(way, process, log)
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait(way: Way, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers."""
    body, headers = way.body(np.zeros((1, 28, 28), np.uint8))
    named = dict(line.split(": ", 1) for line in headers)
    until = time.monotonic() + _START
    while True:
        request = urllib.request.Request(f"http://127.0.0.1:{way.port}{way.path}", body, named)
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except (OSError, urllib.error.URLError) as error:
            if process.poll() is not None or time.monotonic() > until:
                tail = log.read_text(errors="replace")[-600:]
                raise SystemExit(f"{way.name} does not answer ({error}): {tail}") from error
            time.sleep(0.2)


def cpu_seconds(pid: int) -> float:
    """Of a process and all that it started; on a busy machine they tell more than the clock."""
    first = psutil.Process(pid)
    found = 0.0
    for one in (first, *first.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = one.cpu_times()
            found += times.user + times.system
    return found


def load(
    way: Way, x: np.ndarray[Any, Any], clients: int, seconds: float, scratch: Path, pid: int
) -> Any:
    """Figures of one measurement."""
    body, headers = way.body(x)
    file = scratch / "body"
    file.write_bytes(body)
    arguments = [str(way.port), way.path, str(file), str(clients), str(seconds), *headers]
    command = [sys.executable, "-m", "dlkit.bench.load", *arguments]
    before = cpu_seconds(pid)
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    spent = cpu_seconds(pid) - before
    if run.returncode:
        missing = float("nan")
        return dict.fromkeys(("per_s", "rows_per_s", "per_cpu_s", "p50", "p99", "failed"), missing)
    found = json.loads(run.stdout)
    found["rows_per_s"] = found["per_s"] * len(x)
    found["per_cpu_s"] = found["answered"] * len(x) / spent
    return found


def alone(bundle: str, x: np.ndarray[Any, Any], seconds: float) -> dict[str, float]:
    """The session, in a process of its own."""
    code = (
        "import sys, time, numpy as np, dlkit\n"
        f"x = np.zeros({x.shape}, np.uint8)\n"
        f"with dlkit.load({bundle!r}, backend='onnxruntime', task='tensors') as model:\n"
        "    run = model.opened.session\n"
        "    run(x)\n"
        "    n, began, cpu = 0, time.perf_counter(), time.process_time()\n"
        f"    while time.perf_counter() - began < {seconds}:\n"
        "        run(x); n += 1\n"
        "    print(n * len(x) / (time.perf_counter() - began),\n"
        "          n * len(x) / (time.process_time() - cpu))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    per_s, per_cpu_s = map(float, run.stdout.split())
    missing = float("nan")
    return {
        "rows_per_s": per_s,
        "per_cpu_s": per_cpu_s,
        "p50": missing,
        "p99": missing,
        "failed": 0,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--env", action="append", default=[], help="NAME=FOLDER")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--denoiser", default="mmwave", help="Empty: leave it out.")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    envs = {name: Path(folder) for name, _, folder in (one.partition("=") for one in given.env)}
    found: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for number in range(given.rounds):
            lenet(given, envs, scratch, found, number)
            if given.denoiser:
                denoiser(given, scratch, found)
    show(found)
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1))


def lenet(
    given: Any, envs: dict[str, Path], scratch: Path, found: dict[str, list[Any]], number: int
) -> None:
    """One round over all servers, each beginning one later."""
    several = ways(given.bundle.resolve(), envs, given.threads, scratch)
    for way in several[number % len(several) :] + several[: number % len(several)]:
        try:
            with running(way, scratch / f"{way.port}.log") as pid:
                for rows in given.rows:
                    x = np.random.default_rng(0).integers(0, 256, (rows, 28, 28), dtype=np.uint8)
                    for clients in given.clients:
                        figures = load(way, x, clients, given.seconds, scratch, pid)
                        key = f"{way.name} | {rows} rows | {clients} clients"
                        found.setdefault(key, []).append(figures)
                        print(key, figures, flush=True)
        except SystemExit as error:
            print(error, flush=True)
    for rows in given.rows:
        x = np.zeros((rows, 28, 28), np.uint8)
        key = f"session alone | {rows} rows | 1 caller"
        found.setdefault(key, []).append(alone(str(given.bundle), x, given.seconds))


def denoiser(given: Any, scratch: Path, found: dict[str, list[Any]]) -> None:
    """The denoiser, beside its session alone."""
    port = 18050
    command = [sys.executable, "-m", "dlkit", "serve", f"scans={given.denoiser}", "--grpc-port",
               "-1", "--backend", "onnxruntime", "--port", str(port)]  # fmt: skip
    way = Way("dlkit, denoiser", command, "/v2/models/scans/infer", protocol_binary, port)
    x = np.random.default_rng(0).integers(0, 256, (1, *SCAN), dtype=np.uint8)
    probe = Way(way.name, command, "/v2/health/ready", lambda _: protocol_binary(x), port)
    probe.path = way.path
    with running(probe, scratch / "denoiser.log") as pid:
        for clients in given.clients:
            figures = load(way, x, clients, max(given.seconds, 5.0), scratch, pid)
            key = f"dlkit, denoiser | 1 rows | {clients} clients"
            found.setdefault(key, []).append(figures)
            print(key, figures, flush=True)
    key = "session alone, denoiser | 1 rows | 1 caller"
    found.setdefault(key, []).append(alone(given.denoiser, x, max(given.seconds, 5.0)))


def show(found: dict[str, list[Any]]) -> None:
    """A table: medians over the rounds."""
    print(
        "| way | rows | clients | images/s | images a processor second | p50 ms | p99 ms | failed |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for key, rounds in found.items():
        name, rows, clients = key.split(" | ")
        middle = {
            one: statistics.median(row[one] for row in rounds)
            for one in ("rows_per_s", "per_cpu_s", "p50", "p99")
        }
        cells = [name, rows.split()[0], clients, f"{middle['rows_per_s']:.0f}"]
        cells.append(f"{middle['per_cpu_s']:.0f}")
        cells += [f"{middle[one] * 1000:.1f}" for one in ("p50", "p99")]
        print("|", " | ".join([*cells, str(sum(row["failed"] for row in rounds))]), "|")


if __name__ == "__main__":
    main()
