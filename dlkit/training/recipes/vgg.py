"""VGG-11 at 224 pixels. Dive into Deep Learning (8.2): SGD, batches of 128, 10 epochs."""

from __future__ import annotations

from dlkit.training.classify.recipe import ClassifyRecipe, Optimizer
from dlkit.training.networks.vgg import ARCHITECTURE as VGG

RECIPE = ClassifyRecipe(
    about="the article's VGG-11 at 224 pixels; wants a GPU",
    network=VGG(),
    epochs=10,
    batch_size=128,
    optimizer=Optimizer(learning_rate=0.01),
    init="xavier",
)
