"""The default denoiser, on simulated scans alone; a quarter of an hour on two cores."""

from __future__ import annotations

from dlkit.training.architectures.denoiser import Config
from dlkit.training.trainers.paired import PairedRecipe

RECIPE = PairedRecipe(
    about="the shipped denoiser: a levels curve and a mask, predicted by a U-Net",
    network=Config(),
    steps=1500,
    epochs=5,
    pairs=2400,
)
