"""The WGAN for two cores: an eighth of the channels, small scans, the thesis's content loss."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.wgan import RECIPE as FULL

RECIPE = replace(
    FULL,
    about="WGAN-GP with content loss at 168 x 96, an eighth as wide; minutes on two cores",
    network=FULL.network.replace(width=0.125),
    critic=replace(FULL.critic, width=0.125),
    height=168,
    width=96,
    batch_size=8,
    critic_steps=5,  # as in the WGAN-GP paper, like the momentum
    learning_rate=1e-3,
    beta1=0.0,
    beta2=0.9,
    ema_decay=0.95,  # and what still swings is averaged
    content_weight=1000.0,
)
