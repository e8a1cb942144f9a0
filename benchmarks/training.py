"""How fast LeNet trains: dlkit beside the article's own loop.

    python benchmarks/training.py --data mnist          # two minutes on two cores

The article's: a DataLoader over torchvision's MNIST with ToTensor and Normalize in batches of 256,
and the mean loss of every tenth batch, in float32. The same network, optimiser and batch size for
all, in one process, turns taken; dlkit in bfloat16, by which the others are divided, and in
float32. Counted are digits a second of an epoch's steps, without its first ones and without
evaluation. The article's loop has no workers; the row with two shows what they would give.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from dlkit.idx import write_idx
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.engine.fabric import Hardware
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.start import train
from dlkit.training.networks.lenet import ARCHITECTURE as LENET

BFLOAT16 = "dlkit train lenet --precision bf16"
_WARM = 5  # steps that are not counted


def speed(times: list[float], batch: int) -> float:
    """Digits a second, by the times at which steps ended."""
    counted = times[_WARM:]
    return batch * (len(counted) - 1) / (counted[-1] - counted[0])


def dlkit(data: str, batch: int, precision: str) -> float:
    """One epoch of the recipe `lenet`, by `train`: with checkpoint, log and everything."""
    times: list[float] = []

    def watch(now: Moment) -> None:
        if now.step and now.metrics is None:
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        hardware = Hardware(precision=precision)
        run = Path(folder) / "run"
        train("lenet", data, run, hardware=hardware, watch=watch, epochs=1, batch_size=batch)
    return speed(times, batch)


def article(root: Path, batch: int, workers: int) -> float:
    """One epoch as the article has it."""
    torch.manual_seed(0)
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    dataset = datasets.MNIST(str(root), train=True, transform=transform)
    loader = DataLoader(dataset, batch, shuffle=True, num_workers=workers)
    network = LENET(image_size=28, channels=1, classes=10).build()
    network.apply(_xavier)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.9)
    loss = nn.CrossEntropyLoss(reduction="none")
    times = []
    network.train()
    for step, (pixels, labels) in enumerate(loader, start=1):
        value = loss(network(pixels), labels)
        optimizer.zero_grad()
        value.mean().backward()
        optimizer.step()
        if step % 10 == 0:
            float(value.mean())  # the article prints it
        times.append(time.perf_counter())
    return speed(times[:-1], batch)  # the last batch is smaller


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)


def torchvision_layout(data: str, root: Path) -> None:
    """The same digits where torchvision looks for MNIST."""
    digits, raw = load_labelled(data), root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, images, labels in (
        ("train", digits.train_images, digits.train_labels),
        ("t10k", digits.test_images, digits.test_labels),
    ):
        write_idx(raw / f"{part}-images-idx3-ubyte", images)
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels.astype(np.uint8))


def contestants(data: str, root: Path, batch: int) -> Iterator[tuple[str, Callable[[], float]]]:
    """Names and how to run them once."""
    yield BFLOAT16, lambda: dlkit(data, batch, "bf16")
    yield "dlkit train lenet", lambda: dlkit(data, batch, "fp32")
    yield "the article's loop", lambda: article(root, batch, 0)
    yield "the article's loop, 2 workers", lambda: article(root, batch, 2)


def main() -> None:
    """Run the rounds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mnist-mini", help="as for dlkit train")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    # torch warns where there are fewer processors than the article has workers
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    with tempfile.TemporaryDirectory() as folder:
        torchvision_layout(args.data, Path(folder))
        players = dict(contestants(args.data, Path(folder), args.batch))
        speeds: dict[str, list[float]] = {name: [] for name in players}
        for number in range(args.rounds):
            order = list(players) if number % 2 == 0 else list(players)[::-1]
            for name in order:
                speeds[name].append(players[name]())
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    ours = medians[BFLOAT16]
    print("| LeNet, digits a second | median | lowest to highest | dlkit is faster by |")
    print("|---|---|---|---|")
    for name, values in speeds.items():
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"| {name} | {medians[name]:,.0f} | {spread} | {ours / medians[name]:.1f} |")
    print(
        f"\nBatches of {args.batch}, {args.rounds} rounds, {args.data}; "
        f"{os.cpu_count()} processors, torch {torch.__version__}."
    )
    if args.json:
        args.json.write_text(json.dumps({"batch": args.batch, "speeds": speeds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
