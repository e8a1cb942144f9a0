"""A trained full-size generator of the article, for measurements that fresh weights cannot serve.

    python benchmarks/generator.py --out runs/generator          about 10 minutes on two cores
    python benchmarks/int8.py --generator runs/generator

The article trains it against a critic, which wants a GPU (`dlkit train wgan`). Here it learns
simulated pairs by the paired loss alone, on small crops: layers and arithmetic are the article's,
the quality is not the point.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from dlkit.training.engine.loop import Moment
from dlkit.training.engine.start import train
from dlkit.training.networks.wgan import ARCHITECTURE as WGAN
from dlkit.training.recipe import RECIPES


def main() -> None:
    """Train; the same command goes on after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/generator"))
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    recipe = replace(
        RECIPES.load("denoiser"), about="the article's generator by the paired loss",
        network=WGAN(), steps=given.steps, epochs=4, pairs=400, held_out=4, batch_size=4,
        crop_height=128, crop_width=128, learning_rate=1e-3,
    )  # fmt: skip

    def say(now: Moment) -> None:
        if now.metrics:
            print(now.step, dict(now.losses), dict(now.metrics), flush=True)

    resume = (given.out / "checkpoint.pt").exists()
    if not train(recipe, out=given.out, resume=resume, watch=say).finished:
        raise SystemExit("stopped; the same command goes on")


if __name__ == "__main__":
    main()
