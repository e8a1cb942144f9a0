"""How large a recipe's network is, without allocating it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dlkit.training.pixels import wrap
from dlkit.training.recipe import ARCHITECTURES, RECIPES, Recipe, load_recipe

# A scan of the article, padded to a multiple of 16.
_SCAN = (688, 384)


@dataclass(frozen=True)
class Summary:
    """A recipe in numbers.

    Attributes:
        parameters: trained weights.
        gflop: of one image, a multiplication and an addition counted as two.
        size: height and width that ``gflop`` is for: what the network computes on.
    """

    name: str
    task: str
    architecture: str
    parameters: int
    gflop: float
    size: tuple[int, int]
    about: str


def summarise(name: str) -> Summary:
    """Measure a recipe's network on torch's meta device: shapes alone, no arithmetic."""
    recipe = load_recipe(name)
    with torch.device("meta"):
        network = ARCHITECTURES.load(recipe.architecture).build(recipe.network).eval()
    parameters, gflop, size = measured(recipe, network)
    return Summary(name, recipe.task, recipe.architecture, parameters, gflop, size, recipe.about)


def measured(recipe: Recipe, network: nn.Module) -> tuple[int, float, tuple[int, int]]:
    """Parameters, GFLOP and size of a recipe's network that lies on the meta device."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        size = example(recipe, network)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters, counter.get_total_flops() / 1e9, size


def example(recipe: Recipe, network: nn.Module) -> tuple[int, int]:
    """Run one picture through a network on the meta device; gives the size it computes on."""
    if recipe.task == "recognize":
        side = recipe.network.image_size
        size, shape = (side, side), (1, 28, 28)
    else:
        size, shape = _SCAN, (1, *_SCAN)
    with torch.device("meta"):
        model = wrap(recipe.task, network, recipe.network).eval()
        model(torch.zeros(shape, dtype=torch.uint8))
    return size


def summaries() -> list[Summary]:
    """All recipes."""
    return [summarise(name) for name in RECIPES.names()]
