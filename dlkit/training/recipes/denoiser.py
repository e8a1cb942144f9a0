"""The default denoiser, on simulated scans alone; a quarter of an hour on two cores."""

from __future__ import annotations

from dlkit.training.networks.denoiser import ARCHITECTURE as DENOISER
from dlkit.training.restore.recipe import PairedRecipe

RECIPE = PairedRecipe(
    about="the shipped denoiser: a levels curve and a mask, predicted by a U-Net",
    network=DENOISER(),
    steps=1500,
    epochs=5,
    pairs=2400,
)
