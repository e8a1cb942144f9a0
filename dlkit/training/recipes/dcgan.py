"""DCGAN: transposed convolutions, batch normalisation, batches of 128, Adam 2e-4 (0.5, 0.999)."""

from __future__ import annotations

from dlkit.training.gan.recipe import GenerateRecipe
from dlkit.training.networks.dcgan import ARCHITECTURE as DCGAN

RECIPE = GenerateRecipe(
    about="DCGAN: transposed convolutions and batch normalisation",
    network=DCGAN(),
    iterations=4000,
    batch_size=128,
    checkpoint_every=500,
)
