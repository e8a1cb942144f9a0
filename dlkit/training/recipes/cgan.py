"""The conditional GAN: the class decides what is made; the shipped generator of digits."""

from __future__ import annotations

from dlkit.training.gan.recipe import GenerateRecipe
from dlkit.training.networks._image_critic import ImageCriticConfig
from dlkit.training.networks.cgan import ARCHITECTURE as CGAN

RECIPE = GenerateRecipe(
    about="a conditional GAN: a digit of the class that is asked for",
    network=CGAN(),
    critic=ImageCriticConfig(width=0.5, normalize="spectral"),
    iterations=10000,
    checkpoint_every=500,
    learning_rate=3e-4,
    critic_rate=1.5,
    decay=0.5,
    ema_decay=0.999,
)
