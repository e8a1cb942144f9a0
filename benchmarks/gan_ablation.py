"""The thesis's ablation of the WGAN on simulated pairs, small, with equal budgets.

    python benchmarks/gan_ablation.py --out runs/gan_ablation     about 5 minutes on two cores

Variants of the recipe `wgan_small` that differ in what the thesis added and in nothing else: the
data, the seed, the networks' width, the steps, the averaging of the generator and the evaluation
are the same. The thesis does not say what bounds its WGAN without normalisation: the article's
gradient penalty, or the clipped weights of the first WGAN. Both are trained; the second is the
fifth row. Interrupted, it goes on where it stopped. Writes ablation.json; prints the rows.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

from dlkit.training.engine.start import train
from dlkit.training.gan.recipe import WganRecipe
from dlkit.training.recipe import RECIPES

# PSNR and SSIM of the thesis on its author's own real test set.
THESIS: dict[str, tuple[float, float]] = {
    "original GAN": (4.66, 0.004),
    "WGAN without normalisation, with penalty": (11.40, 0.29),
    "WGAN-GP without content loss": (19.99, 0.86),
    "all improvements": (24.02, 0.91),
    "WGAN without normalisation, clipped": (11.40, 0.29),
}


def variants(base: WganRecipe) -> dict[str, WganRecipe]:
    """The four variants, from the worst to the best of the thesis, and the other reading of one."""
    bare = replace(
        base,
        network=base.network.replace(normalize=False),
        critic=replace(base.critic, normalize=False),
    )
    return {
        "original GAN": replace(
            bare, adversary="cross_entropy", content_weight=0.0, gradient_penalty=0.0
        ),
        "WGAN without normalisation, with penalty": replace(bare, content_weight=0.0),
        "WGAN-GP without content loss": replace(base, content_weight=0.0),
        "all improvements": base,
        "WGAN without normalisation, clipped": replace(
            bare, content_weight=0.0, gradient_penalty=0.0, weight_clip=0.01
        ),
    }


def main() -> None:
    """Train what is not trained yet, then tabulate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gan_ablation"))
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    base = RECIPES.load("wgan_small")
    assert isinstance(base, WganRecipe)
    base = replace(
        base, iterations=given.iterations, checkpoint_every=given.iterations // 6, pairs=400,
        held_out=40, seed=given.seed,
    )  # fmt: skip
    rows = []
    for name, recipe in variants(base).items():
        folder = given.out / name.replace(" ", "-")
        run = train(recipe, out=folder, resume=folder.exists())
        if not run.finished:
            raise SystemExit("stopped; the same command goes on")
        log = run.load_log()
        last = [entry for entry in log if entry["event"] == "epoch"][-1]
        curve = [round(entry["psnr"], 2) for entry in log if entry["event"] == "epoch"]
        rows.append({"name": name, "psnr": last["psnr"], "ssim": last["ssim"], "curve": curve,
                     "thesis": THESIS[name]})  # fmt: skip
        print(rows[-1], flush=True)
    text = json.dumps({"recipe": base.to_json(), "rows": rows}, indent=2)
    (given.out / "ablation.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
