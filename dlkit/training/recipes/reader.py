"""The shipped reader of digits and signs on paper: ``dlkit simulate crops`` makes its data."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.classify.recipe import Augmentation, Selection
from dlkit.training.recipes.resnet_small import RECIPE as SMALL

RECIPE = replace(
    SMALL,
    about="the shipped reader: a thin ResNet for digits and signs with what is around them",
    network=SMALL.network.replace(width=0.215),
    data="crops.npz",
    epochs=7,
    augmentation=Augmentation(),
    label_smoothing=0.0,
    selection=Selection(validation=0.03, keep_best=False),
)
