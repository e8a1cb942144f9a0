"""What a few pairs bring to the shipped weights, and what others lose.

    python benchmarks/fine_tuning.py --scanners 3 --out X.json    some minutes a scanner on one core
    python benchmarks/fine_tuning.py --real FOLDER --out X.json   each pair left out in turn

Each scanner is the simulator with other noise, stripes, resolution, levels and threshold, drawn by
its number. The shipped weights are adapted to 1, 2 and 4 of its pairs, as
`dlkit train denoiser --data PAIRS --init default` does, and scored on other scans of that scanner
and on ordinary simulated ones that no training sees. No weights are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dlkit import images
from dlkit.export.weights import load_weights
from dlkit.mmwave import DEFAULTS, Parameters, simulate
from dlkit.mmwave.fit import scaled, with_levels
from dlkit.tasks.denoise.pairs import HELD_OUT_SEED, Pairs, load_pairs
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.training.engine.start import train
from dlkit.training.recipe import RECIPES
from dlkit.training.restore.held_out import evaluate_denoiser

CPU = torch.device("cpu")
COUNTS = (1, 2, 4)
ORDINARY = 20_000  # of the held-out seeds: behind those of evaluations


def scanner(number: int) -> Parameters:
    """Another scanner: each property by a factor or a shift of its own."""
    draw = np.random.default_rng([25, number]).uniform
    noise, stripes = float(np.exp(draw(-0.5, 0.7))), float(np.exp(draw(-0.5, 0.9)))
    made = scaled(DEFAULTS, noise=noise, stripes=stripes, width=float(draw(0.8, 1.5)))
    levels = (float(draw(110, 144)), float(draw(42, 58)))
    shift = float(draw(-6, 6))  # of who retouches
    made = with_levels(made, *levels)
    low, high = made.threshold_grey
    return replace(made, threshold_grey=(low + shift, high + shift))


def simulated(parameters: Parameters, first: int, count: int) -> Pairs:
    """Pairs of a scanner."""
    scans = [simulate(seed, parameters=parameters) for seed in range(first, first + count)]
    return Pairs([scan.noisy for scan in scans], [scan.clean for scan in scans])


def some(pairs: Pairs, places: list[int]) -> Pairs:
    """A few of them."""
    return Pairs([pairs.noisy[one] for one in places], [pairs.clean[one] for one in places])


def adapted(pairs: Pairs, weights: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, Any]]:
    """The network after fine-tuning, and what the end of the log says."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        for side, whole in (("noisy", pairs.noisy), ("clean", pairs.clean)):
            for number, image in enumerate(whole):
                images.write(data / side / f"{number}.png", image)
        recipe = RECIPES.load("denoiser").fine_tuning(str(data))
        run = train(recipe, data, Path(folder) / "run", weights=weights)
        if not run.finished:
            raise SystemExit("stopped")
        return run.load_network().eval(), run.load_log()[-1]


def score(network: nn.Module, pairs: Pairs) -> float:
    """Mean PSNR in dB."""
    return evaluate_denoiser(PixelDenoiser(network), pairs, 16, CPU)["psnr"]


def main() -> None:
    """Adapt to scanners, or leave each real pair out once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scanners", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--others", type=int, default=12)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    weights = load_weights("default", "denoise")
    shipped = RECIPES.load("denoiser").example().network.build()
    shipped.load_state_dict(weights)
    shipped.eval()
    ordinary = simulated(DEFAULTS, HELD_OUT_SEED + ORDINARY, given.others)
    plain = score(shipped, ordinary)
    rows: list[dict[str, Any]] = []

    def compare(name: str, known: Pairs, others: Pairs) -> None:
        network, end = adapted(known, weights)
        row = {
            "name": name, "pairs": len(known.noisy), "before": score(shipped, others),
            "after": score(network, others), "ordinary_before": plain,
            "ordinary_after": score(network, ordinary), "end": end,
        }  # fmt: skip
        rows.append(row)
        print({key: value for key, value in row.items() if key != "end"}, end, flush=True)
        if given.out:
            given.out.write_text(json.dumps(rows, indent=1) + "\n")

    for number in range(given.first, given.first + given.scanners):
        made = scanner(number)
        known = simulated(made, HELD_OUT_SEED + ORDINARY + 1000, max(COUNTS))
        others = simulated(made, HELD_OUT_SEED + ORDINARY + 2000, given.others)
        for count in COUNTS:
            compare(f"scanner {number}", some(known, list(range(count))), others)
    if given.real:
        pairs = load_pairs(given.real)
        for out, name in enumerate(pairs.names):
            rest = [place for place in range(len(pairs.names)) if place != out]
            compare(f"{name} left out", some(pairs, rest), some(pairs, [out]))


if __name__ == "__main__":
    main()
