"""The shipped finder of digits on paper."""

from __future__ import annotations

from dlkit.training.find.recipe import FinderRecipe
from dlkit.training.networks.finder import ARCHITECTURE as FINDER

RECIPE = FinderRecipe(
    about="the shipped finder: where digits are on paper, by a small U-Net",
    network=FINDER(),
)
