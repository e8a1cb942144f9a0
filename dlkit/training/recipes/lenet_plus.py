"""LeNet twice as wide, with ReLU, maximum pooling, batch normalisation and all of ``_modern``."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes._modern import MODERN
from dlkit.training.recipes.lenet import RECIPE as FULL

RECIPE = replace(
    FULL,
    **MODERN,
    about="LeNet with ReLU and batch normalisation on deformed digits; two minutes on two cores",
    network=FULL.network.replace(activation="relu", pooling="max", batch_norm=True, width=2.0),
    epochs=20,
)
