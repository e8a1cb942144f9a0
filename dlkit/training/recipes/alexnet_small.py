"""AlexNet for two cores: 28 pixels, a stem of 5 x 5, a quarter of the channels, batch normalisation
in place of local response normalisation, ``_modern``."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes._modern import MODERN
from dlkit.training.recipes.alexnet import RECIPE as FULL

RECIPE = replace(
    FULL,
    **MODERN,
    about="AlexNet at 28 pixels, a quarter as wide; minutes on two cores",
    network=FULL.network.replace(
        image_size=0,
        stem_kernel=5,
        stem_stride=1,
        stem_padding=2,
        width=0.25,
        batch_norm=True,
        dropout=0.3,
    ),
    epochs=16,
)
