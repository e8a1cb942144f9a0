"""ResNet-18 for two cores: 28 pixels, a stem that halves once, a quarter of the channels.

And all of ``_modern``.
"""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes._modern import MODERN
from dlkit.training.recipes.resnet import RECIPE as FULL

RECIPE = replace(
    FULL,
    **MODERN,
    about="ResNet-18 at 28 pixels, a quarter as wide; minutes on two cores",
    network=FULL.network.replace(image_size=0, width=0.25, stem="half"),
    epochs=24,
)
