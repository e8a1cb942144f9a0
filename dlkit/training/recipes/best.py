"""The most accurate single network: ``resnet_small`` wider, and longer."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.recipes.resnet_small import RECIPE as FULL

RECIPE = replace(
    FULL,
    about="ResNet-18 at 28 pixels, half as wide: the most accurate; 20 minutes on two cores",
    network=replace(FULL.network, width=0.5),
    epochs=24,
)
