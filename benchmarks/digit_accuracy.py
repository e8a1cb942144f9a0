"""Test accuracy of the recipes on the full MNIST, over seeds.

    python benchmarks/digit_accuracy.py --data mnist      # some hours on two cores

Trains each recipe for each seed by `dlkit train`, cheap ones first, seed by seed. What is finished
is skipped, what was stopped goes on. Two runs at a time on one core each are faster than one after
the other on two: small networks do not fill two cores. RUNS/accuracy.json has every figure.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.engine.run import Run
from dlkit.training.recipe import RECIPES as KNOWN
from dlkit.training.summary import summarise

RECIPES = (
    "fast", "mlp", "lenet", "lenet_relu", "mlp_plus", "lenet_plus", "vgg_small", "resnet_small",
    "digits", "alexnet_small", "googlenet_small", "best", "best_tuned",
)  # fmt: skip
AFTER = {"best_tuned": "best"}  # it begins with that one's weights


def finished(folder: Path, name: str, settings: list[str], data: str) -> dict[str, Any] | None:
    """The figures of a finished run of this recipe on these digits."""
    log = folder / "log.jsonl"
    if not log.is_file():
        return None
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    if entries[-1]["event"] != "end":
        return None
    run = Run(folder)
    stored = run.load_recipe()
    recipe = KNOWN.load(name).with_settings(settings)
    filled = recipe.network.filled(image_size=28, channels=1, classes=10)
    recipe = replace(recipe, network=filled, data=stored.data)
    if stored != recipe or run.load_checkpoint()["fingerprint"] != fingerprint(data):
        raise SystemExit(f"{folder} is of another recipe or other digits: choose another --out")
    epochs = [entry for entry in entries if entry["event"] == "epoch"]
    seconds = [entry["seconds"] for entry in epochs if "seconds" in entry]
    end = {name: value for name, value in entries[-1].items() if name not in ("event", "step")}
    return {
        **end,
        "epochs": epochs[-1]["epoch"],
        # by the median epoch: a run may have been interrupted
        "minutes": statistics.median(seconds) * len(seconds) / 60,
    }


@functools.cache
def fingerprint(data: str) -> str:
    """Of the digits."""
    return load_labelled(data).fingerprint()


def train(name: str, seed: int, data: str, out: Path, threads: int, settings: list[str]) -> None:
    """One run, in a process of its own."""
    run = out / f"{name}-seed{seed}"
    settings = [f"seed={seed}", *settings]
    if finished(run, name, settings, data) is not None:
        return
    command = [sys.executable, "-m", "dlkit", "train", name, "--data", data, "--out", str(run)]
    for setting in settings:
        command += ["--set", setting]
    if (run / "recipe.json").is_file():
        command.append("--resume")
    elif name in AFTER:
        command += ["--init", str(out / f"{AFTER[name]}-seed{seed}")]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    end = finished(run, name, settings, data)
    assert end is not None
    print(f"{name} seed {seed}: {end['test_accuracy']:.4f} in {end['minutes']:.1f} minutes",
          flush=True)  # fmt: skip


def table(
    names: list[str], seeds: list[int], out: Path, settings: list[str], data: str
) -> dict[str, Any]:
    """What there is so far."""
    rows: dict[str, Any] = {}
    for name in names:
        found = {
            seed: finished(out / f"{name}-seed{seed}", name, [f"seed={seed}", *settings], data)
            for seed in seeds
        }
        runs = {str(seed): run for seed, run in found.items() if run is not None}
        if not runs:
            continue
        summary = summarise(name)
        accuracies = [run["test_accuracy"] for run in runs.values()]
        rows[name] = {
            "about": KNOWN.load(name).about,
            "parameters": summary.parameters,
            "mmacs": summary.gflop * 500,
            "test_accuracy": {
                "mean": statistics.mean(accuracies),
                "lowest": min(accuracies),
                "highest": max(accuracies),
            },
            "test_ece": statistics.mean(run["test_ece"] for run in runs.values()),
            "minutes": statistics.median(run["minutes"] for run in runs.values()),
            "seeds": runs,
        }
    return rows


def main() -> None:
    """Train what is missing, write the JSON after each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mnist", help="as for dlkit train")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="KEY=VALUE for all")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    threads = max(1, processors // args.jobs)

    def one(job: tuple[int, str]) -> None:
        seed, name = job
        train(name, seed, args.data, args.out, threads, args.settings)
        with writing:
            write()

    def write() -> dict[str, Any]:
        rows = table(args.recipes, args.seeds, args.out, args.settings, args.data)
        report = {"threads": threads, "jobs": args.jobs, "recipes": rows}
        (args.out / "accuracy.json").write_text(json.dumps(report, indent=1) + "\n")
        return rows

    writing = threading.Lock()
    jobs = [(seed, name) for seed in args.seeds for name in args.recipes]
    with ThreadPoolExecutor(args.jobs) as pool:
        for later in (False, True):
            list(pool.map(one, [job for job in jobs if (job[1] in AFTER) is later]))
    print("| recipe | parameters | test accuracy, mean | lowest to highest | ECE | minutes |")
    print("|---|---:|---:|---|---:|---:|")
    for name, row in write().items():
        accuracy = row["test_accuracy"]
        print(
            f"| {name} | {row['parameters']:,} | {accuracy['mean']:.2%} | "
            f"{accuracy['lowest']:.2%} to {accuracy['highest']:.2%} | "
            f"{row['test_ece']:.2%} | {row['minutes']:.1f} |"
        )
    print(f"\n{args.data}, seeds {args.seeds}, {threads} thread(s) a run, {processors} processors.")


if __name__ == "__main__":
    main()
