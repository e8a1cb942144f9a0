"""VGG-11 for two cores: 32 pixels, a quarter of the channels, batch normalisation, ``_modern``."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes._modern import MODERN
from dlkit.training.recipes.vgg import RECIPE as FULL

RECIPE = replace(
    FULL,
    **MODERN,
    about="VGG-11 at 32 pixels, a quarter as wide; minutes on two cores",
    network=FULL.network.replace(image_size=32, width=0.25, batch_norm=True, dropout=0.2),
    epochs=24,
)
