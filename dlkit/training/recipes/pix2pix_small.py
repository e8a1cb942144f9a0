"""pix2pix for two cores: a quarter of the channels, five halvings, crops of the full height."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.pix2pix import RECIPE as FULL

RECIPE = replace(
    FULL,
    about="pix2pix, a quarter as wide, on crops; half an hour on two cores",
    network=FULL.network.replace(width=0.25, halvings=5, dropout=0.0, normalize=False),
    critic=replace(FULL.critic, width=0.25),
    iterations=2500,
    checkpoint_every=250,
    batch_size=2,
    learning_rate=1e-3,
    ema_decay=0.995,
    crop_width=128,
    pairs=1000,
)
