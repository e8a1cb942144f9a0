"""CycleGAN: nine residual blocks, least squares, cycle 10, identity 0.5, a pool of 50."""

from __future__ import annotations

from dlkit.training.gan.recipe import CycleganRecipe
from dlkit.training.networks.cyclegan import ARCHITECTURE as CYCLEGAN

RECIPE = CycleganRecipe(
    about="CycleGAN: residual networks there and back, without pairs; wants a GPU",
    network=CYCLEGAN(),
    iterations=100_000,
    checkpoint_every=1000,
)
