"""The article's WGAN: 400 generator steps, three critic steps each, batches of 16, lambda 10."""

from __future__ import annotations

from dlkit.training.architectures.wgan import Config
from dlkit.training.trainers.wgan import WganRecipe

RECIPE = WganRecipe(
    about="the article's WGAN-GP at 678 x 384; wants a GPU", network=Config(), iterations=400
)
