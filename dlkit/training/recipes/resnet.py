"""ResNet-18 at 96 pixels. Dive into Deep Learning (8.6): SGD, batches of 128, 10 epochs."""

from __future__ import annotations

from dlkit.training.classify.recipe import ClassifyRecipe, Optimizer
from dlkit.training.networks.resnet import ARCHITECTURE as RESNET

RECIPE = ClassifyRecipe(
    about="the article's ResNet-18 at 96 pixels; wants a GPU",
    network=RESNET(),
    epochs=10,
    batch_size=128,
    optimizer=Optimizer(learning_rate=0.01),
    init="xavier",
)
