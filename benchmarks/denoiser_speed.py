"""Time of one 678 x 384 scan: the shipped denoiser and the article's generator, side by side.

    python benchmarks/denoiser_speed.py --threads 2 --out speed.json       about two minutes

Both as FP32 and as FP16 bundles on every backend that runs here; runs alternate, so that a busy
machine slows both; medians and their ratio. The generator's weights are fresh: they do not change
the time. Arithmetic is counted by torch, a multiplication and an addition as two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.errors import BackendError
from dlkit.export.api import export
from dlkit.mmwave import simulate
from dlkit.runtime.session import open_session, runnable
from dlkit.training.engine.run import Run
from dlkit.training.recipe import RECIPES
from dlkit.training.summary import summarise


def bundle_of(recipe_name: str, folder: Path, precision: str) -> Bundle:
    """A bundle of a recipe with fresh weights."""
    recipe = RECIPES.load(recipe_name)
    example = recipe.example()
    run = Run(folder / recipe_name)
    if not run.checkpoint.exists():
        torch.manual_seed(0)
        network = example.network.build()
        run.save_recipe(replace(recipe, network=example.network))
        run.save_checkpoint({"network": network.state_dict(), "meaning": dict(example.meaning)})
    return export(run, precision)


def main() -> None:
    """Measure and print one line a backend and precision."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    counts = {name: summarise(name) for name in ("denoiser", "wgan")}
    print({name: f"{one.parameters} parameters, {one.gflop:.2f} GFLOP"
           for name, one in counts.items()})  # fmt: skip
    rows = []
    scan = simulate(1).noisy
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fp32", "fp16"):
            ours = bundle_of("denoiser", Path(folder), precision)
            theirs = bundle_of("wgan", Path(folder), precision)
            for backend in sorted({name for name, device in runnable(ours) if device == "cpu"}):
                runs = []
                try:
                    for bundle in (ours, theirs):
                        session = open_session(bundle, backend, "cpu", given.threads).session
                        pixels = np.stack([images.pad(scan, bundle.spec.multiple_of)])
                        for _ in range(5):  # OpenVINO compiles a model for a shape that comes often
                            session(pixels)
                        runs.append((session, pixels, []))
                except BackendError as error:
                    print(f"not {backend}: {error}")
                    continue
                for _ in range(given.rounds):
                    for session, pixels, seconds in runs:
                        begun = time.perf_counter()
                        session(pixels)
                        seconds.append(time.perf_counter() - begun)
                mine, other = (statistics.median(seconds) for _, _, seconds in runs)
                rows.append({"backend": backend, "precision": precision, "threads": given.threads,
                             "ours_ms": round(mine * 1e3, 1), "article_ms": round(other * 1e3, 1),
                             "ratio": round(other / mine, 1)})  # fmt: skip
                print(rows[-1], flush=True)
    if given.out:
        data = {"gflop": {name: one.gflop for name, one in counts.items()}, "rows": rows}
        given.out.write_text(json.dumps(data, indent=2) + "\n")


if __name__ == "__main__":
    main()
