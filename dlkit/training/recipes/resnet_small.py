"""ResNet-18 for two cores: 28 pixels, a stem without halving, a quarter of the channels."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.resnet import RECIPE as FULL

RECIPE = replace(
    FULL,
    about="ResNet-18 at 28 pixels, a quarter as wide; minutes on two cores",
    network=replace(FULL.network, image_size=28, width=0.25, stem="small"),
    epochs=5,
    batch_size=64,
    optimizer="adam",
    learning_rate=0.002,
    schedule="one_cycle",
    init="default",
    shift=2,
)
