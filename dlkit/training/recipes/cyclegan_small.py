"""CycleGAN for two cores: an eighth of the channels, four blocks, crops of small scans."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.cyclegan import RECIPE as FULL

RECIPE = replace(
    FULL,
    about="CycleGAN, an eighth as wide, on crops; half an hour on two cores",
    network=FULL.network.replace(width=0.125, blocks=4, normalize=False),
    critic=replace(FULL.critic, width=0.25),
    iterations=2000,
    checkpoint_every=250,
    learning_rate=5e-4,
    ema_decay=0.995,
    crop_height=256,
    crop_width=192,
    pairs=400,
)
