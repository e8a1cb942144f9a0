"""CycleGAN for two cores: an eighth of the channels, four blocks, crops of small scans."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.cyclegan import RECIPE as FULL

RECIPE = replace(
    FULL,
    about="CycleGAN, an eighth as wide, on crops; a quarter of an hour on two cores",
    network=FULL.network.replace(width=0.125, blocks=4, normalize=False),
    critic=replace(FULL.critic, width=0.25, normalize=False),
    iterations=800,
    checkpoint_every=50,
    cycle_weight=1.0,
    identity_weight=2.0,
    learning_rate=5e-4,
    ema_decay=0.995,
    crop_height=256,
    crop_width=192,
    pairs=400,
)
