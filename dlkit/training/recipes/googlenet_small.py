"""GoogLeNet for two cores: 48 pixels, a quarter of the channels, batch normalisation."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.googlenet import RECIPE as FULL

RECIPE = replace(
    FULL,
    about="GoogLeNet at 48 pixels, a quarter as wide; minutes on two cores",
    network=replace(FULL.network, image_size=48, width=0.25, batch_norm=True),
    epochs=5,
    batch_size=64,
    optimizer="adam",
    learning_rate=0.002,
    schedule="one_cycle",
    init="default",
    shift=2,
)
