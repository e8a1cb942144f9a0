"""The article's first network: SGD 0.1, batches of 256, three epochs."""

from __future__ import annotations

from dlkit.training.classify.recipe import ClassifyRecipe
from dlkit.training.networks.mlp import ARCHITECTURE as MLP

RECIPE = ClassifyRecipe(about="the article's multilayer perceptron", network=MLP(), epochs=3)
