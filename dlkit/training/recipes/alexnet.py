"""AlexNet at 224 pixels. Dive into Deep Learning (8.1): SGD 0.01, batches of 128, 10 epochs."""

from __future__ import annotations

from dlkit.training.classify.recipe import ClassifyRecipe, Optimizer
from dlkit.training.networks.alexnet import ARCHITECTURE as ALEXNET

RECIPE = ClassifyRecipe(
    about="the article's AlexNet at 224 pixels; wants a GPU",
    network=ALEXNET(),
    epochs=10,
    batch_size=128,
    optimizer=Optimizer(learning_rate=0.01),
    init="xavier",
)
