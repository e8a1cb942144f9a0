"""AlexNet for two cores: 32 pixels, a stem of 5 x 5, a quarter of the channels."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.alexnet import RECIPE as FULL

RECIPE = replace(
    FULL,
    about="AlexNet at 32 pixels, a quarter as wide; minutes on two cores",
    network=replace(
        FULL.network, image_size=32, stem_kernel=5, stem_stride=1, stem_padding=2, width=0.25
    ),
    epochs=5,
    batch_size=64,
    optimizer="adam",
    learning_rate=0.002,
    schedule="one_cycle",
    init="default",
    shift=2,
)
