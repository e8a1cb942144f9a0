"""int8 beside float32 on this machine: what it loses and what it gains; Markdown on screen.

    python benchmarks/int8.py [--data FOLDER] [--scans 50] [--generator RUN]

Three networks: the shipped digits and mmwave bundles, and the article's generator (recipe wgan)
with fresh weights for its speed alone, or a trained run of it. Losses are measured on held-out
images: MNIST's 10,000 test digits where --data names a folder that holds them (else the 1,000 that
come with dlkit), and simulated scans with held-out seeds. Speeds are medians of interleaved runs of
one batch that is in memory, warm-up left out. "fixed shape" is OpenVINO told the shape of the batch
beforehand.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch

from dlkit.bundle import Bundle
from dlkit.export.api import export
from dlkit.export.trace import wrapped
from dlkit.export.weights import network_in
from dlkit.processors import cpu_count
from dlkit.runtime.session import open_session
from dlkit.tasks import TASKS
from dlkit.training.architecture import Network
from dlkit.training.engine.run import Run
from dlkit.training.recipe import RECIPES

BACKENDS = ("onnxruntime", "openvino")
DIGITS = 64  # a batch; scans go one by one
Way = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measure all, print as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", help="folder with MNIST's files")
    parser.add_argument("--scans", type=int, default=50, help="held-out scans")
    parser.add_argument("--generator", type=Path, help="a trained run, instead of fresh weights")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each network's timing")
    options = parser.parse_args()
    torch.set_num_threads(cpu_count())
    print(f"{processor()}, {cpu_count()} processors, {platform.system()}; ", end="")
    print(f"torch {torch.__version__}, openvino {openvino.__version__.partition('-')[0]}\n")
    with tempfile.TemporaryDirectory() as folder:
        losses: list[str] = []
        speeds: list[str] = []
        for name, data, limit in (
            ("digits", options.data, 10_000),
            ("mmwave", None, options.scans),
        ):
            full = Bundle.open(name)
            low = export(full, "int8", Path(folder) / name)
            losses += loss_rows(full, low, data, limit)
            speeds += speed_rows(full, low, batch_of(full), options.seconds)
        full, low, torch_way = generator(Path(folder), options.generator)
        losses += loss_rows(full, low, None, options.scans if options.generator else 4)
        speeds += speed_rows(full, low, batch_of(full), options.seconds * 3, torch_way)
    print("\n| network | backend | fp32 | int8 | lost | int8 to fp32 | MB |")
    print("|---|---|---|---|---|---|---|", *losses, "", sep="\n")
    header = "| network, batch | way | fp32 images/s | int8 images/s | int8 / fp32 | int8 / torch |"
    print(header, "|---|---|---|---|---|---|", *speeds, sep="\n")


def loss_rows(full: Bundle, low: Bundle, data: str | None, limit: int) -> list[str]:
    """Task metrics on held-out images, and where the layers are that stay float32."""
    images = TASKS.load(full.spec.task).held_out(full.spec, full.origin, data, limit)
    batches = images.batches[: images.scored]
    left = low.origin["int8"]["left_fp32"]
    print(f"{full.spec.name}: left in fp32: {', '.join(left) or 'nothing'}", flush=True)
    size = f"{full.onnx.stat().st_size / 1e6:.2f} to {low.onnx.stat().st_size / 1e6:.2f}"
    rows = []
    for backend in BACKENDS:
        outputs = []
        for bundle in (full, low):
            session = open_session(bundle, backend, "cpu").session
            outputs.append([session.run(feeds) for feeds in batches])
        before, after = map(images.score, outputs)
        plain = [[one[full.spec.output.name] for one in side] for side in outputs]
        gap = np.concatenate(
            [
                np.abs(a.astype(np.float64) - b.astype(np.float64)).ravel()
                for a, b in zip(*plain, strict=True)
            ]
        )
        if full.spec.task == "denoise":
            squared = float((gap**2).mean())
            same = f"{10 * np.log10(255**2 / max(squared, 1e-9)):.1f} dB"
        else:
            answers = [np.concatenate(one).argmax(axis=1) for one in plain]
            same = f"{(answers[0] != answers[1]).sum()} answers differ"
        numbers = [", ".join(f"{v:.5g}" for v in one.values()) for one in (before, after)]
        lost = ", ".join(f"{key} {before[key] - after[key]:+.2g}" for key in before)
        where = f"{full.spec.name}, {images.count} images"
        rows.append(f"| {where} | {backend} | {' | '.join(numbers)} | {lost} | {same} | {size} |")
    return rows


def speed_rows(
    full: Bundle, low: Bundle, batch: np.ndarray, seconds: float, torch_way: Way | None = None
) -> list[str]:
    """Images per second of every way, all measured in turns."""
    ways: dict[tuple[str, str], Way] = {}
    for precision, bundle in (("fp32", full), ("int8", low)):
        for backend in BACKENDS:
            ways[backend, precision] = open_session(bundle, backend, "cpu").session
        ways["openvino, fixed shape", precision] = fixed_shape(bundle, batch)
    if torch_way is None:
        torch_way = torch_session(*network_in(full), full.origin.get("meaning", {}))
    ways["torch eager", "fp32"] = torch_way
    medians = timed(ways, batch, seconds)
    base = medians["torch eager", "fp32"]
    rows = []
    for name in dict.fromkeys(name for name, _ in ways):
        slow, fast = medians[name, "fp32"], medians.get((name, "int8"))
        label = f"{full.spec.name}, {len(batch)}"
        first = f"| {label} | {name} | {len(batch) / slow:.4g} | "
        if fast is None:
            rows.append(f"{first}- | - | - |")
        else:
            rows.append(f"{first}{len(batch) / fast:.4g} | {slow / fast:.2f} | {base / fast:.2f} |")
    return rows


def timed(
    ways: dict[tuple[str, str], Way], batch: np.ndarray, seconds: float
) -> dict[tuple[str, str], float]:
    """Median seconds of one batch."""
    for way in ways.values():
        for _ in range(2):
            way(batch)
    found: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(found.values()))) < 3:
        for key, way in ways.items():
            begun = time.perf_counter()
            way(batch)
            found[key].append(time.perf_counter() - begun)
    return {key: float(np.median(values)) for key, values in found.items()}


def generator(folder: Path, trained: Path | None) -> tuple[Bundle, Bundle, Way]:
    """The article's generator in both precisions, and torch; fresh weights where none are given."""
    run = Run(trained or folder / "wgan")
    if trained is None:
        recipe = RECIPES.load("wgan")
        example = recipe.example()
        torch.manual_seed(recipe.seed)
        run.save_recipe(replace(recipe, network=example.network))
        weights = example.network.build().state_dict()
        run.save_checkpoint({"network": weights, "meaning": dict(example.meaning)})
    full, low = (
        export(run, precision, folder / f"generator-{precision}") for precision in ("fp32", "int8")
    )
    network = run.load_recipe().network
    return full, low, torch_session(network, run.load_network(), run.load_meaning())


def torch_session(network: Network, module: torch.nn.Module, meaning: Mapping[str, Any]) -> Way:
    """torch, eager, float32, as a person would call it."""
    task = TASKS.load(network.architecture.task)
    model = wrapped(task, module, network.config, meaning).eval()

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(batch)).numpy()

    return run


def fixed_shape(bundle: Bundle, batch: np.ndarray) -> Way:
    """OpenVINO with the batch's shape instead of free axes."""
    core = openvino.Core()
    model = core.read_model(bundle.onnx)
    model.reshape({bundle.spec.input.name: list(batch.shape)})
    hints = {"INFERENCE_NUM_THREADS": cpu_count(), "EXECUTION_MODE_HINT": "ACCURACY"}
    compiled = core.compile_model(model, "CPU", hints)
    return lambda pixels: np.array(compiled(pixels)[0])


def batch_of(bundle: Bundle) -> np.ndarray:
    """One batch of held-out images, padded as the network needs it."""
    task, name = TASKS.load(bundle.spec.task), bundle.spec.input.name
    count = DIGITS if bundle.spec.task == "recognize" else 1
    batches = task.held_out(bundle.spec, bundle.origin, None, count).batches
    return np.concatenate([feeds[name] for feeds in batches[: -1 if count > 1 else 1]])


def processor() -> str:
    """The processor's name."""
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or os.uname().machine


if __name__ == "__main__":
    main()
