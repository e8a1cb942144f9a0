"""GoogLeNet for two cores: 28 pixels, a stem that halves once, a quarter of the channels, batch
normalisation, ``_modern``."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes._modern import MODERN, OPTIMIZER
from dlkit.training.recipes.googlenet import RECIPE as FULL

RECIPE = replace(
    FULL,
    **MODERN | {"optimizer": replace(OPTIMIZER, weight_decay=1e-3)},
    about="GoogLeNet at 28 pixels, a quarter as wide; minutes on two cores",
    network=FULL.network.replace(image_size=0, stem="small", width=0.25, batch_norm=True),
    epochs=20,
    outliers=0.125,
)
