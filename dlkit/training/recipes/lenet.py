"""LeNet with sigmoids. Dive into Deep Learning (7.6): SGD 0.9, Xavier, 10 epochs."""

from __future__ import annotations

from dlkit.training.classify.recipe import ClassifyRecipe, Optimizer
from dlkit.training.networks.lenet import ARCHITECTURE as LENET

RECIPE = ClassifyRecipe(
    about="the article's LeNet: sigmoid, average pooling",
    network=LENET(),
    epochs=10,
    optimizer=Optimizer(learning_rate=0.9),
    init="xavier",
)
