"""The shipped recogniser: ``resnet_small`` made thin, for digits as they are met outside MNIST.

It adds to ``resnet_small`` distortions of half of the digits (noise, blur, stripes, lines, light:
``classify/distort.py``), wider deformations, and outliers: an eighth of what it sees is no digit
and is trained towards equal probabilities (``classify/outliers.py``). The file stays below 2 MB.
"""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.classify.recipe import Selection
from dlkit.training.recipes.resnet_small import RECIPE as SMALL

RECIPE = replace(
    SMALL,
    about="the shipped recogniser: a thin ResNet, sure of digits alone, however distorted",
    network=SMALL.network.replace(width=0.1875),
    epochs=40,
    augmentation=replace(
        SMALL.augmentation,
        rotate=17.0,
        scale=0.22,
        shear=0.28,
        shift=3.0,
        settle=0.0,
        distortions=0.55,
    ),
    outliers=0.125,
    label_smoothing=0.0,
    selection=Selection(keep_best=True),
)
