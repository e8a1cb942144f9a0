"""The original GAN: fully connected, maxout and dropout in the critic, on digits."""

from __future__ import annotations

from dlkit.training.gan.recipe import GenerateRecipe
from dlkit.training.networks._image_critic import ImageCriticConfig
from dlkit.training.networks.gan import ARCHITECTURE as GAN

RECIPE = GenerateRecipe(
    about="the original GAN, fully connected",
    network=GAN(),
    critic=ImageCriticConfig(kind="maxout", normalize="none", dropout=0.5),
    iterations=12000,
    checkpoint_every=1000,
)
