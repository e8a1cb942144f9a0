"""AlexNet at 224 pixels. Dive into Deep Learning (8.1): SGD 0.01, batches of 128, 10 epochs."""

from __future__ import annotations

from dlkit.training.architectures.alexnet import Config
from dlkit.training.trainers.classify import ClassifyRecipe

RECIPE = ClassifyRecipe(
    about="the article's AlexNet at 224 pixels; wants a GPU",
    network=Config(),
    epochs=10,
    batch_size=128,
    learning_rate=0.01,
    init="xavier",
)
