"""LeNet with ReLU, Adam, one cycle and shifted digits: learns from few digits in half a minute."""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.classify.recipe import Augmentation, Optimizer, Schedule
from dlkit.training.recipes.lenet import RECIPE as ARTICLE

RECIPE = replace(
    ARTICLE,
    about="LeNet with ReLU and shifted digits; half a minute on two cores",
    network=ARTICLE.network.replace(activation="relu"),
    epochs=15,
    batch_size=64,
    optimizer=Optimizer("adam", learning_rate=0.005),
    schedule=Schedule("one_cycle"),
    init="default",
    augmentation=Augmentation(shift=2.0),
)
