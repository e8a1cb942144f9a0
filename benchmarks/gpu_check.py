"""Measure every network on every backend of this machine's GPU.

    PYTHONPATH=. python benchmarks/gpu_check.py --out gpu-check

Per network, backend and batch: images per second, latency, difference from torch in float32, and
the share of the card's own matrix-multiply rate, measured in the same run. All backends are timed
alike, from uint8 pixels in host memory to the answer in host memory. Weights are fresh: speed does
not depend on them. Exits with 2 where there is no GPU or no torch.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.metadata
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gpu_table
import numpy as np

from dlkit.bundle import Bundle
from dlkit.errors import DlkitError
from dlkit.runtime.gpu.driver import no_cuda

BACKENDS = ("torch eager", "torch.compile", "onnxruntime", "tensorrt")
_MATMUL = 8192


@dataclass
class Subject:
    """A recipe's network with fresh weights, its input, and what it should answer.

    Attributes:
        inner: the network itself, float32, on the CPU.
        wrap: puts around a network all that belongs to the graph.
        pixels: uint8, the largest batch, as the graph takes them.
        expected: torch float32's answer for the largest batch, float64.
        flop: of one image.
        run: the run that has the weights.
    """

    name: str
    inner: Any
    wrap: Callable[[Any], Any]
    pixels: Any
    expected: Any
    flop: float
    run: Any


class Torch:
    """torch in float16, its weights too; normalisation of pixels and the answer in float32."""

    def __init__(self, subject: Subject, compiled: bool) -> None:
        import torch

        class Half(torch.nn.Module):
            def __init__(self, inner: Any) -> None:
                super().__init__()
                self.inner = inner.half()

            def forward(self, x: Any) -> Any:
                return self.inner(x.half())

        model = subject.wrap(Half(copy.deepcopy(subject.inner)))
        model = model.eval().cuda().to(memory_format=torch.channels_last)
        self._model: Any = torch.compile(model, dynamic=False) if compiled else model

    def __call__(self, batch: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(torch.from_numpy(batch).cuda()).cpu().numpy()


def open_backend(name: str, subject: Subject, batches: list[int]) -> Any:
    """Something that takes a batch of uint8 pixels and gives the answer."""
    if name.startswith("torch"):
        return Torch(subject, compiled=name == "torch.compile")
    from dlkit.export.api import export
    from dlkit.runtime.session import open_session

    place = subject.run.path / "bundle-fp16"
    bundle = Bundle.open(place) if place.exists() else export(subject.run, "fp16", place)
    if name == "tensorrt":
        build(bundle, batches, subject.pixels.shape[1:3])
    return open_session(bundle, name, "cuda").session


def build(bundle: Bundle, batches: list[int], size: tuple[int, int]) -> None:
    """Build the engine that is measured: the one place that knows the builder."""
    from dlkit.export.api import build_engine

    profile = (min(batches), sorted(batches)[len(batches) // 2], max(batches))
    build_engine(bundle, profile, (size, size, size))


def measure(
    name: str, subject: Subject, batches: list[int], seconds: float, matmul: float
) -> Iterator[gpu_table.Row]:
    """A row for each batch."""
    try:
        run = open_backend(name, subject, batches)
    except (Exception, SystemExit) as error:  # whatever is missing here is what the table tells
        for batch in batches:
            yield gpu_table.failed(subject.name, name, batch, error)
        return
    for batch in batches:
        try:
            pixels = np.ascontiguousarray(subject.pixels[:batch])
            difference = float(
                np.abs(run(pixels).astype(np.float64) - subject.expected[:batch]).max()
            )
            latencies = gpu_table.time_calls(lambda pixels=pixels: run(pixels), seconds)
            rate = gpu_table.throughput(run, pixels, seconds)
            yield gpu_table.row(
                subject.name, name, batch, latencies, rate, difference, subject.flop, matmul
            )
        except Exception as error:
            yield gpu_table.failed(subject.name, name, batch, error)
    close = getattr(run, "close", None)
    if close is not None:
        close()


def prepare(name: str, batch: int, folder: Path) -> Subject:
    """Build a recipe's network, its input, and float32's answer on the GPU."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from dlkit.bench import calls, plan
    from dlkit.training.engine.run import Run
    from dlkit.training.recipe import RECIPES

    recipe = RECIPES.load(name)
    example = recipe.example()
    recipe = replace(recipe, network=example.network)
    config, task = example.network.config, recipe.task
    torch.manual_seed(recipe.seed)
    inner = example.network.build().eval()
    run = Run(folder / name)
    run.save_recipe(recipe)
    run.save_checkpoint({"network": inner.state_dict(), "meaning": dict(example.meaning)})

    def wrap(network: Any) -> Any:
        return task.wrap(network, config, example.meaning)

    spec = task.describe(config, example.meaning, example.network.architecture.multiple_of)
    (pixels,) = calls.feeds(spec, batch, plan.SCAN).values()
    model = wrap(copy.deepcopy(inner)).eval().cuda()
    counter = FlopCounterMode(display=False)
    with torch.inference_mode():
        with counter:
            model(torch.from_numpy(pixels[:1]).cuda())
        # One by one: float32 at full size and a large batch may not fit.
        parts = [model(torch.from_numpy(part).cuda()).cpu() for part in np.split(pixels, batch)]
    expected = torch.cat(parts).numpy().astype(np.float64)
    return Subject(name, inner, wrap, pixels, expected, float(counter.get_total_flops()), run)


def matmul_rate() -> float:
    """FLOP/s of a float16 matrix product: the median of 20, by the GPU's own clock."""
    import torch

    a, b = (torch.randn(_MATMUL, _MATMUL, device="cuda", dtype=torch.float16) for _ in range(2))
    times = []
    for _ in range(25):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        a @ b
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return 2 * _MATMUL**3 / gpu_table.percentile(times[5:], 0.5)


def machine(matmul: float) -> dict[str, str]:
    """What the numbers belong to."""
    import torch

    driver = "unknown"
    with suppress(OSError, subprocess.SubprocessError):
        ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True)
        driver = done.stdout.split("\n")[0].strip()
    major, minor = torch.cuda.get_device_capability()
    versions = {}
    for package in ("onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt-rtx-cu13-libs"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "card": f"{torch.cuda.get_device_name()} (sm_{major}{minor})",
        "driver": driver,
        "torch": f"{torch.__version__}, CUDA {torch.version.cuda}",
        **versions,
        "Python": platform.python_version(),
        "matmul float16": f"{matmul / 1e12:.0f} TFLOP/s ({_MATMUL} x {_MATMUL})",
    }


def why_not() -> str | None:
    """Why nothing can be measured here; None when it can."""
    if reason := no_cuda():
        return str(reason)
    try:
        import torch
    except ImportError as error:
        return f"torch is the reference, and it does not load: {error}"
    return None if torch.cuda.is_available() else "this torch has no CUDA that works"


def main() -> int:
    """Run from the command line; gives the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-check"), help="folder for the table")
    parser.add_argument("--recipes", nargs="+", help="networks; all by default")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--ready", action="store_true", help="only say whether it can run here")
    arguments = parser.parse_args()
    if reason := why_not():
        print(f"gpu-check measures nothing here: {reason}", file=sys.stderr)
        return 2
    if arguments.ready:
        return 0
    import torch

    from dlkit.training.recipe import RECIPES

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    matmul = matmul_rate()
    about, rows = machine(matmul), []
    batches = sorted(set(arguments.batch))
    for name in arguments.recipes or RECIPES.names():
        with tempfile.TemporaryDirectory() as folder:
            try:
                subject = prepare(name, max(batches), Path(folder))
            except (DlkitError, RuntimeError) as error:
                rows.append(gpu_table.failed(name, "torch float32", max(batches), error))
                gpu_table.write(arguments.out, about, rows)
                continue
            for backend in arguments.backends:
                for row in measure(backend, subject, batches, arguments.seconds, matmul):
                    rows.append(row)
                    told = row.reason or f"{row.images_per_s:,.0f} images/s"
                    print(f"{row.network}, {row.backend}, batch {row.batch}: {told}", flush=True)
                torch.compiler.reset()
                gc.collect()
                torch.cuda.empty_cache()
        gpu_table.write(arguments.out, about, rows)
    print(f"written: {arguments.out / 'gpu.md'}")
    return 0 if any(row.reason is None for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
