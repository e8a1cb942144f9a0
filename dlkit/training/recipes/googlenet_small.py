"""GoogLeNet for two cores: 28 pixels, a stem that halves once, a quarter of the channels, batch
normalisation, ``_modern``."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes._modern import MODERN
from dlkit.training.recipes.googlenet import RECIPE as FULL

RECIPE = replace(
    FULL,
    **MODERN | {"weight_decay": 1e-3},
    about="GoogLeNet at 28 pixels, a quarter as wide; minutes on two cores",
    network=replace(FULL.network, image_size=28, stem="small", width=0.25, batch_norm=True),
    epochs=20,
    outliers=0.125,
)
