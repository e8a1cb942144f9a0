"""ResNet-18 at 96 pixels. Dive into Deep Learning (8.6): SGD, batches of 128, 10 epochs."""

from __future__ import annotations

from dlkit.training.architectures.resnet import Config
from dlkit.training.trainers.classify import ClassifyRecipe

RECIPE = ClassifyRecipe(
    about="the article's ResNet-18 at 96 pixels; wants a GPU",
    network=Config(),
    epochs=10,
    batch_size=128,
    learning_rate=0.01,
    init="xavier",
)
