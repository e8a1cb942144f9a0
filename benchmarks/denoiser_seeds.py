"""How far the default denoiser's quality depends on the training's seed.

    for s in 0 1 2; do dlkit train denoiser --set seed=$s --out runs/seed$s; done
    python benchmarks/denoiser_seeds.py runs/seed0 runs/seed1 runs/seed2 --real FOLDER --out X.json

Each run on held-out simulated pairs that no training saw and, as a report only, on the real pairs
of FOLDER (noisy/ and clean/): mean and standard deviation over the runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlkit.mmwave import REFERENCE_SIZE
from dlkit.tasks.denoise.pairs import HELD_OUT_SEED, Pairs, load_pairs, simulate_pairs
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.training.engine.run import Run
from dlkit.training.restore.held_out import evaluate_denoiser

FIRST_SEED = HELD_OUT_SEED + 10_000  # as `dlkit evaluate` has it


def scores(model: PixelDenoiser, pairs: Pairs, multiple_of: int) -> list[dict[str, Any]]:
    """PSNR and SSIM of each pair."""
    single = [
        Pairs([noisy], [clean]) for noisy, clean in zip(pairs.noisy, pairs.clean, strict=True)
    ]
    cpu = torch.device("cpu")
    return [{"name": name, **evaluate_denoiser(model, one, multiple_of, cpu)}
            for name, one in zip(pairs.names, single, strict=True)]  # fmt: skip


def main() -> None:
    """Score each run, then average."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    simulated = simulate_pairs(range(FIRST_SEED, FIRST_SEED + given.count), REFERENCE_SIZE)
    sets = {"simulated": simulated}
    if given.real:
        sets["real"] = load_pairs(given.real)
    rows = []
    for path in given.runs:
        run = Run(path)
        recipe = run.load_recipe()
        network = run.load_network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        multiple_of = recipe.network.architecture.multiple_of
        row: dict[str, Any] = {"run": path.name, "seed": recipe.seed, "steps": recipe.steps}  # type: ignore[attr-defined]
        for name, pairs in sets.items():
            found = scores(PixelDenoiser(network), pairs, multiple_of)
            row[name] = {key: float(np.mean([one[key] for one in found])) for key in
                         ("psnr", "ssim")}  # fmt: skip
            if name == "real":
                row["pairs"] = found
        rows.append(row)
        print(row, flush=True)
    summary: dict[str, Any] = {"simulated pairs": given.count}
    for name in sets:
        for key in ("psnr", "ssim"):
            values = [row[name][key] for row in rows]
            spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            summary[f"{name} {key}"] = [float(np.mean(values)), spread]
    print(summary)
    if given.out:
        given.out.write_text(json.dumps({"summary": summary, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
