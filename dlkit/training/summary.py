"""How large a recipe's network is, without allocating it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dlkit.training.recipe import RECIPES


@dataclass(frozen=True)
class Summary:
    """A recipe in numbers.

    Attributes:
        name: of the recipe.
        task, architecture: names.
        parameters: trained weights.
        gflop: of one input, a multiplication and an addition counted as two.
        shape: of the input that ``gflop`` is for: what the network computes on.
        about: one line for people.
    """

    name: str
    task: str
    architecture: str
    parameters: int
    gflop: float
    shape: tuple[int, ...]
    about: str


def summarise(name: str) -> Summary:
    """Measure a recipe's network on torch's meta device: shapes alone, no arithmetic."""
    recipe = RECIPES.load(name)
    example = recipe.example()
    with torch.device("meta"):
        network = example.network.build().eval()
    parameters, gflop = measured(network, example.shape)
    kind = recipe.network.architecture
    return Summary(name, kind.task, kind.name, parameters, gflop, example.shape, recipe.about)


def measured(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, float]:
    """Parameters and GFLOP of a network that lies on the meta device, for an input of a shape."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, *shape, device="meta"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters, counter.get_total_flops() / 1e9


def summaries() -> list[Summary]:
    """All recipes that are built in or installed."""
    return [summarise(name) for name in RECIPES.names()]
