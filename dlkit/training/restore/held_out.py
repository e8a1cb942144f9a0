"""Which pairs a network is trained on, which are kept out, and how good it is on those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from dlkit import images
from dlkit.errors import InputError, UsageError
from dlkit.mmwave.parameters_file import simulator
from dlkit.tasks.denoise.pairs import (
    HELD_OUT_SEED,
    SIMULATED,
    Pairs,
    ValueRange,
    load_pairs,
    simulate_pairs,
    training_seeds,
)
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.tasks.denoise.score import mean_psnr_ssim
from dlkit.training.restore.recipe import PairsRecipe

_COLOURS = {0: None, 1: "grey", 3: "rgb"}


def training_pairs(recipe: PairsRecipe, data: str) -> tuple[Pairs, Pairs]:
    """Pairs to train on and pairs kept out, simulated or from a folder.

    Raises:
        UsageError: the recipe's seed or channels do not go with the data.
        InputError: the folder cannot be used, or has too few pairs to keep some out.
    """
    channels = recipe.network.config.channels
    if channels not in _COLOURS:
        raise UsageError(f"channels is {channels}, expected 1 (grey), 3 (colour) or 0 (the data's)")
    values = ValueRange.parse(recipe.range)
    parameters = simulator(data)
    if parameters is not None:
        if channels == 3 or values:
            what = "channels is 3" if channels == 3 else f"range is {recipe.range}"
            raise UsageError(f"{what}, but simulated scans are grey, from 0 to 255")
        size = (recipe.height, recipe.width)
        held_out = range(HELD_OUT_SEED, HELD_OUT_SEED + recipe.held_out)
        seeds = training_seeds(recipe.seed, recipe.pairs)
        known, kept = (simulate_pairs(some, size, parameters=parameters)
                       for some in (seeds, held_out))  # fmt: skip
        return known, kept
    if not Path(data).is_dir():
        raise InputError(f"there is no folder '{data}'", f"Give --data {SIMULATED} or a folder")
    pairs = load_pairs(Path(data), _COLOURS[channels], values=values)
    cut = len(pairs.noisy) - recipe.held_out
    if cut < 1:
        raise InputError(
            f"{data} has {len(pairs.noisy)} pairs and {recipe.held_out} are to be held out",
            "Add pairs, or hold out fewer: --set held_out=1",
        )
    objects = pairs.objects[:cut] if pairs.objects else None
    return (
        Pairs(
            pairs.noisy[:cut],
            pairs.clean[:cut],
            objects,
            names=pairs.names[:cut],
            notes=pairs.notes,
        ),
        Pairs(pairs.noisy[cut:], pairs.clean[cut:]),
    )


def simulated_like(recipe: PairsRecipe) -> Pairs:
    """Simulated pairs of the training's seeds, in the channels of a resolved recipe."""
    seeds = training_seeds(recipe.seed, recipe.pairs)
    pairs = simulate_pairs(seeds, (recipe.height, recipe.width))
    if recipe.network.config.channels == 1:
        return pairs
    noisy, clean = ([images.colour(image, "rgb") for image in side]
                    for side in (pairs.noisy, pairs.clean))  # fmt: skip
    return Pairs(noisy, clean, pairs.objects)


def named(data: str) -> tuple[str, str]:
    """Where data are, so that another folder to start from finds them, and their name for
    people."""
    kind, _, file = data.partition(":")
    if kind != SIMULATED:
        return str(Path(data).resolve()), Path(data).resolve().name
    return (f"{kind}:{Path(file).resolve()}", f"{kind}:{Path(file).name}") if file else (kind, kind)


def channels_of(pairs: Pairs) -> int:
    """1 for grey images, 3 for colour."""
    return 1 if pairs.noisy[0].ndim == 2 else 3


def meaning_of(recipe: PairsRecipe) -> dict[str, object]:
    """What an export must know of the pairs of a resolved recipe."""
    found: dict[str, object] = {"channels": recipe.network.config.channels, "scale": 1}
    if values := ValueRange.parse(recipe.range):
        found["range"] = [values.low, values.high]
    return found


def evaluate_denoiser(
    model: PixelDenoiser, pairs: Pairs, multiple_of: int, device: torch.device
) -> Mapping[str, float]:
    """Mean PSNR in dB and SSIM of a model."""
    psnr, ssim = mean_psnr_ssim(pairs.clean, restore(model, pairs, multiple_of, device))
    return {"psnr": psnr, "ssim": ssim}


@torch.inference_mode()
def restore(
    model: PixelDenoiser, pairs: Pairs, multiple_of: int, device: torch.device
) -> list[images.UInt8]:
    """A model's answers for noisy images, one at a time as it is deployed."""
    model.eval()
    restored = []
    for noisy in pairs.noisy:
        padded = torch.from_numpy(images.pad(noisy, multiple_of)).to(device)
        output = model(padded.unsqueeze(0))[0].cpu().numpy()
        restored.append(images.crop(output, *noisy.shape[:2]))
    return restored
