"""The article's WGAN: 400 generator steps, three critic steps each, batches of 16, lambda 10."""

from __future__ import annotations

from dlkit.training.gan.recipe import WganRecipe
from dlkit.training.networks.wgan import ARCHITECTURE as WGAN

RECIPE = WganRecipe(
    about="the article's WGAN-GP at 678 x 384; wants a GPU", network=WGAN(), iterations=400
)
