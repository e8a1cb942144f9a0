"""Candidates for the default denoiser under equal budgets.

    python benchmarks/denoiser_candidates.py --out runs/candidates     about 8 minutes on two cores

The same simulated pairs, loss, optimiser, steps, crops and seed for all; about the same arithmetic
for one 678 x 384 scan. Reduced against the recipe `denoiser`: fewer steps and pairs, narrower
crops. `--real FOLDER` also reports pairs of that folder; nothing is chosen or stopped by them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from dlkit.tasks.denoise.pairs import HELD_OUT_SEED, load_pairs, simulate_pairs
from dlkit.training.architecture import Network
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.loop import Moment, run_training
from dlkit.training.engine.run import Run
from dlkit.training.networks import denoiser, wgan
from dlkit.training.recipe import RECIPES
from dlkit.training.restore.held_out import evaluate_denoiser
from dlkit.training.restore.recipe import PairedRecipe
from dlkit.training.restore.trainer import PairedTrainer

SCAN = (1, 1, 688, 384)  # a scan, padded to a multiple of 16
CPU = torch.device("cpu")
COMPUTE = open_compute(Hardware("cpu"), bfloat16=True)


class PlainUNet(denoiser.Denoiser):
    """The default denoiser's U-Net, which gives the picture itself: no curve, no mask."""

    def forward(self, x: Tensor) -> Tensor:
        """Clean the scans."""
        centred = x - 0.5
        at2 = self.encode1(self.down1(centred * 4.0))
        at4 = self.encode2(self.down2(at2))
        at8 = self.encode3(self.down3(at4))
        at16 = self.encode4(self.down4(at8))
        at8 = self.decode3(F.relu(at8 + denoiser._twice(self.up3(at16))))
        at4 = self.decode2(F.relu(at4 + denoiser._twice(self.up2(at8))))
        at2 = self.decode1(F.relu(at2 + denoiser._twice(self.up1(at4))))
        maps = denoiser._twice(self.maps(at2))
        detail = F.relu(self.refine(torch.cat([centred * 4.0, x, maps], dim=1)))
        return x + maps[:, :1] * 2.0 + self.correct(detail)


class NafBlock(nn.Module):
    """Chen et al., arXiv 2204.04676: layer norm, gates as activations, channel attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.norm1, self.norm2 = nn.GroupNorm(1, channels), nn.GroupNorm(1, channels)
        self.spread = nn.Conv2d(channels, wide, 1)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.grow, self.shrink = nn.Conv2d(channels, wide, 1), nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        one, other = self.depthwise(self.spread(self.norm1(x))).chunk(2, dim=1)
        y = one * other
        y = y * self.attention(y.mean(dim=(2, 3), keepdim=True))
        x = x + self.project(y) * self.beta
        one, other = self.grow(self.norm2(x)).chunk(2, dim=1)
        return x + self.shrink(one * other) * self.gamma


class NafNet(nn.Module):
    """A NAFNet-like U-Net from half resolution down, which adds a correction to the scan."""

    def __init__(self, width: int = 24, blocks: tuple[int, ...] = (2, 2, 3, 3)) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(len(blocks))]
        self.first = nn.Conv2d(1, width, 5, stride=2, padding=2)
        self.encoders = nn.ModuleList(
            nn.Sequential(*(NafBlock(wide) for _ in range(count)))
            for wide, count in zip(channels, blocks, strict=True)
        )
        self.downs = nn.ModuleList(nn.Conv2d(wide, 2 * wide, 2, stride=2) for wide in channels[:-1])
        self.ups = nn.ModuleList(nn.Conv2d(2 * wide, wide, 1) for wide in channels[:-1])
        self.decoders = nn.ModuleList(NafBlock(wide) for wide in channels[:-1])
        self.last = nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Clean the scans."""
        y, kept = self.first((x - 0.5) * 4.0), []
        for level, encode in enumerate(self.encoders):
            y = encode(y)
            if level < len(self.downs):
                kept.append(y)
                y = self.downs[level](y)
        for level in reversed(range(len(self.ups))):
            y = self.decoders[level](kept[level] + denoiser._twice(self.ups[level](y)))
        return x + F.pixel_shuffle(self.last(y), 2)


GREY = denoiser.Config(channels=1)
# A network where dlkit has it, else how to make it. The article's generator is narrowed
# until its arithmetic is that of the others; its run can be exported and evaluated like any other.
CANDIDATES: dict[str, Network | Callable[[], nn.Module]] = {
    "threshold and mask, column context": denoiser.ARCHITECTURE(channels=1),
    "threshold and mask, no column context": denoiser.ARCHITECTURE(
        channels=1, column_context=False
    ),
    "plain U-Net, column context": lambda: PlainUNet(GREY),
    "plain U-Net, no column context": lambda: PlainUNet(replace(GREY, column_context=False)),
    "NAFNet-like": NafNet,
    "article's generator, narrowed": wgan.ARCHITECTURE(channels=1, width=0.19),
}


def gflop(network: nn.Module) -> float:
    """Of one scan; a multiplication and an addition are two."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network.eval()(torch.rand(SCAN))
    return counter.get_total_flops() / 1e9


def main() -> None:
    """Train each, evaluate each on the same held-out pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/candidates"))
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--held-out", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--only", help="a part of the candidates' names")
    given = parser.parse_args()
    recipe = RECIPES.load("denoiser")
    assert isinstance(recipe, PairedRecipe)
    recipe = replace(recipe, steps=given.steps, epochs=2, pairs=500, crop_width=224, batch_size=4,
                     held_out=8, seed=given.seed)  # fmt: skip
    size = (recipe.height, recipe.width)
    first = HELD_OUT_SEED + 10_000
    held_out = simulate_pairs(range(first, first + given.held_out), size)
    real = load_pairs(given.real) if given.real else None
    for name, make in CANDIDATES.items():
        folder = given.out / name.replace(" ", "-").replace(",", "").replace("'", "")
        if (folder / "result.json").exists() or (given.only or "") not in name:
            continue
        torch.manual_seed(recipe.seed)
        chosen = recipe
        if isinstance(make, Network):
            chosen = replace(recipe, network=make)
            network = make.build()
        else:
            network = make()
        row: dict[str, object] = {
            "name": name,
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "gflop": round(gflop(network), 2),
        }
        trainer = PairedTrainer(chosen, "simulated", COMPUTE, network)
        run = Run(folder)
        run.save_recipe(trainer.recipe)
        started = time.monotonic()

        def say(now: Moment, name: str = name) -> None:
            if now.metrics:
                print(name, now.step, dict(now.losses), dict(now.metrics), flush=True)

        if not run_training(trainer, run, COMPUTE, run.checkpoint.exists(), say):
            raise SystemExit("stopped; the same command goes on")
        row["minutes"] = round((time.monotonic() - started) / 60, 1)
        row["simulated"] = evaluate_denoiser(trainer.model, held_out, 16, CPU)
        if real is not None:
            row["real"] = evaluate_denoiser(trainer.model, real, 16, CPU)
        (folder / "result.json").write_text(json.dumps(row, indent=2) + "\n")
        print(row, flush=True)
    rows = [json.loads(path.read_text()) for path in sorted(given.out.glob("*/result.json"))]
    table = {"recipe": recipe.to_json(), "rows": rows}
    (given.out / "candidates.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
