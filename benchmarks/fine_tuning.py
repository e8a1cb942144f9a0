"""What a few real pairs add to the shipped weights: leave one out.

    python benchmarks/fine_tuning.py FOLDER --out X.json       about two minutes a pair on two cores

FOLDER has noisy/ and clean/. For each pair: fine-tune the shipped weights on all the others, as
`dlkit train denoiser --data OTHERS --init default` does, and score the pair left out, before and
after. No weights are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from dlkit import images
from dlkit.export.weights import load_weights
from dlkit.mmwave import REFERENCE_SIZE
from dlkit.tasks.denoise.pairs import HELD_OUT_SEED, Pairs, load_pairs, simulate_pairs
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.training.engine.start import train
from dlkit.training.recipe import RECIPES
from dlkit.training.restore.held_out import evaluate_denoiser

CPU = torch.device("cpu")


def main() -> None:
    """Leave each pair out once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    pairs = load_pairs(given.folder)
    first = HELD_OUT_SEED + 10_000
    simulated = simulate_pairs(range(first, first + 24), REFERENCE_SIZE)
    recipe = RECIPES.load("denoiser").fine_tuning()
    weights = load_weights("default", "denoise")
    kind = recipe.example().network
    rows = []
    for out, name in enumerate(pairs.names):
        alone = Pairs([pairs.noisy[out]], [pairs.clean[out]])
        network = kind.build()
        network.load_state_dict(weights)
        row = {"left out": name, "recipe": recipe.to_json()}
        with tempfile.TemporaryDirectory() as folder:
            for other in (index for index in range(len(pairs.names)) if index != out):
                for side, image in (("noisy", pairs.noisy), ("clean", pairs.clean)):
                    images.write(Path(folder) / "data" / side / f"{other}.png", image[other])
            run = train(recipe, Path(folder) / "data", Path(folder) / "run", weights=weights)
            if not run.finished:
                raise SystemExit("stopped")
            tuned = run.load_network()
        for when, net in (("before", network.eval()), ("after", tuned)):
            for what, held_out in (("real", alone), ("simulated", simulated)):
                row[f"{what} {when}"] = evaluate_denoiser(
                    PixelDenoiser(net), held_out, kind.architecture.multiple_of, CPU
                )
        rows.append(row)
        print({key: value for key, value in row.items() if key != "recipe"}, flush=True)
    if given.out:
        given.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
