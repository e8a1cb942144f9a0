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
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_table
import numpy as np

from dlkit.bundle import Bundle
from dlkit.errors import DlkitError
from dlkit.runtime.device import no_cuda

BACKENDS = ("torch eager", "torch.compile", "onnxruntime", "tensorrt")
_SCAN = (678, 384)
_MATMUL = 8192


@dataclass
class Network:
    """A recipe's network with fresh weights, its input, and what it should answer."""

    name: str
    task: str
    recipe: Any
    inner: Any  # the network itself, float32, on the CPU
    pixels: Any  # uint8 (largest batch, H, W)
    expected: Any  # torch float32's answer for the largest batch
    flop: float  # of one image
    folder: Path


class Torch:
    """torch in float16, its weights too; normalisation of pixels and the answer in float32."""

    def __init__(self, network: Network, compiled: bool) -> None:
        import torch

        from dlkit.training.pixels import wrap

        class Half(torch.nn.Module):
            def __init__(self, inner: Any) -> None:
                super().__init__()
                self.inner = inner.half()

            def forward(self, x: Any) -> Any:
                return self.inner(x.half())

        model = wrap(network.task, Half(copy.deepcopy(network.inner)), network.recipe.network)
        model = model.eval().cuda().to(memory_format=torch.channels_last)
        self._model: Any = torch.compile(model, dynamic=False) if compiled else model

    def __call__(self, batch: Any) -> Any:
        import torch

        with torch.inference_mode():
            return self._model(torch.from_numpy(batch).cuda()).cpu().numpy()


def open_backend(name: str, network: Network, batches: list[int]) -> Any:
    """Something that takes a batch of uint8 pixels and gives the answer."""
    if name.startswith("torch"):
        return Torch(network, compiled=name == "torch.compile")
    from dlkit.export.onnx import export_run
    from dlkit.runtime.session import open_session

    bundle_path = network.folder / "bundle-fp16"
    bundle = (
        Bundle.open(bundle_path) if bundle_path.exists() else export_run(network.folder, "fp16")
    )
    if name == "tensorrt":
        build(bundle, batches, network.pixels.shape[1:])
    return open_session(bundle, name, "cuda").session


def build(bundle: Bundle, batches: list[int], size: tuple[int, int]) -> None:
    """Build the engine that is measured: the one place that knows the builder."""
    from dlkit.export import tensorrt

    options = tensorrt.BuildOptions(
        batch=(1, sorted(batches)[len(batches) // 2], max(batches)), size=(size, size, size)
    )
    tensorrt.build_engine(bundle, options)


def measure(
    name: str, network: Network, batches: list[int], seconds: float, matmul: float
) -> Iterator[gpu_table.Row]:
    """A row for each batch."""
    try:
        run = open_backend(name, network, batches)
    except (Exception, SystemExit) as error:  # whatever is missing here is what the table tells
        for batch in batches:
            yield gpu_table.failed(network.name, name, batch, error)
        return
    for batch in batches:
        try:
            pixels = np.ascontiguousarray(network.pixels[:batch])
            difference = float(
                np.abs(run(pixels).astype(np.float64) - network.expected[:batch]).max()
            )
            latencies = gpu_table.time_calls(lambda pixels=pixels: run(pixels), seconds)
            rate = gpu_table.throughput(run, pixels, seconds)
            yield gpu_table.row(
                network.name, name, batch, latencies, rate, difference, network.flop, matmul
            )
        except Exception as error:
            yield gpu_table.failed(network.name, name, batch, error)
    close = getattr(run, "close", None)
    if close is not None:
        close()


def prepare(name: str, batch: int, folder: Path) -> Network:
    """Build a recipe's network, its input, and float32's answer on the GPU."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from dlkit import images
    from dlkit.training.data.digits import load_digits
    from dlkit.training.data.mmwave import simulate
    from dlkit.training.pixels import wrap
    from dlkit.training.recipe import ARCHITECTURES, load_recipe
    from dlkit.training.run import Run

    recipe = load_recipe(name)
    torch.manual_seed(recipe.seed)
    architecture = ARCHITECTURES.load(recipe.architecture)
    inner = architecture.build(recipe.network).eval()
    run = Run(folder / name)
    run.save_recipe(recipe)
    run.save_checkpoint({"network": inner.state_dict()})
    if recipe.task == "recognize":
        some = load_digits("mnist-mini").test_images.numpy()
    else:
        multiple = int(architecture.MULTIPLE_OF)
        some = np.stack([images.pad(simulate(seed, _SCAN).noisy, multiple) for seed in range(4)])
    pixels = np.ascontiguousarray(np.resize(some, (batch, *some.shape[1:])))
    model = wrap(recipe.task, copy.deepcopy(inner), recipe.network).eval().cuda()
    counter = FlopCounterMode(display=False)
    with torch.inference_mode():
        with counter:
            model(torch.from_numpy(pixels[:1]).cuda())
        # One by one: float32 at full size and a large batch may not fit.
        parts = [model(torch.from_numpy(part).cuda()).cpu() for part in np.split(pixels, batch)]
    return Network(
        name,
        recipe.task,
        recipe,
        inner,
        pixels,
        torch.cat(parts).numpy().astype(np.float64),
        float(counter.get_total_flops()),
        run.path,
    )


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
        return reason
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
                network = prepare(name, max(batches), Path(folder))
            except (DlkitError, RuntimeError) as error:
                rows.append(gpu_table.failed(name, "torch float32", max(batches), error))
                gpu_table.write(arguments.out, about, rows)
                continue
            for backend in arguments.backends:
                for row in measure(backend, network, batches, arguments.seconds, matmul):
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
