"""The article's first network: SGD 0.1, batches of 256, three epochs."""

from __future__ import annotations

from dlkit.training.architectures.mlp import Config
from dlkit.training.trainers.classify import ClassifyRecipe

RECIPE = ClassifyRecipe(about="the article's multilayer perceptron", network=Config(), epochs=3)
