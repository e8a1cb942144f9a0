"""LeNet with sigmoids. Dive into Deep Learning (7.6): SGD 0.9, Xavier, 10 epochs."""

from __future__ import annotations

from dlkit.training.architectures.lenet import Config
from dlkit.training.trainers.classify import ClassifyRecipe

RECIPE = ClassifyRecipe(
    about="the article's LeNet: sigmoid, average pooling",
    network=Config(),
    epochs=10,
    learning_rate=0.9,
    init="xavier",
)
