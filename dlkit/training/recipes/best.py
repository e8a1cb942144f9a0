"""The most accurate single network: convolutions without padding that keep 6 x 6 places to the end.

Beside ``_modern``: turned and shifted as far as An et al. do (arXiv 2008.10400), bent less, twice
the weight decay, pictures of no digit in every batch (Hendrycks et al., arXiv 1812.04606), and a
long training. `best_tuned` goes on from here.
"""

from __future__ import annotations

from dataclasses import replace

from dlkit.training.classify.recipe import ClassifyRecipe, Selection
from dlkit.training.networks.simple_cnn import ARCHITECTURE as SIMPLE_CNN
from dlkit.training.recipes._modern import AUGMENTATION, MODERN, OPTIMIZER

_BESIDE = {
    "augmentation": replace(AUGMENTATION, rotate=20.0, shift=4.0, elastic=0.6),
    "optimizer": replace(OPTIMIZER, weight_decay=1e-3),
    "selection": Selection(validation=1 / 60, keep_best=False),
}

RECIPE = ClassifyRecipe(
    **MODERN | _BESIDE,
    about="five convolutions without padding, pooled once: the most accurate",
    network=SIMPLE_CNN(convolutions=5, pooled=2, dropout=0.1),
    epochs=60,
    outliers=0.125,
)
