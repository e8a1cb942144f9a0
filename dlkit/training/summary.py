"""How large a recipe's network is, without allocating it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dlkit.training.recipe import RECIPES, Recipe


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


def parameters(recipe: Recipe) -> int:
    """Trained weights of a recipe's network."""
    return _count(_network(recipe))


def summarise(name: str) -> Summary:
    """Measure a recipe's network on torch's meta device: shapes alone, no arithmetic."""
    recipe = RECIPES.load(name)
    shape = recipe.example().shape
    count, gflop = measured(_network(recipe), shape)
    kind = recipe.network.architecture
    return Summary(name, kind.task.name, kind.name, count, gflop, shape, recipe.about)


def measured(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, float]:
    """Parameters and GFLOP of a network that lies on the meta device, for an input of a shape."""
    from torch.utils.flop_counter import FlopCounterMode  # loads torch's compiler

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, *shape, device="meta"))
    return _count(network), counter.get_total_flops() / 1e9


def summaries() -> list[Summary]:
    """All recipes that are built in or installed."""
    return [summarise(name) for name in RECIPES.names()]


def _network(recipe: Recipe) -> nn.Module:
    with torch.device("meta"), _Unfilled():
        return recipe.example().network.build().eval()


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


class _Unfilled(TorchFunctionMode):
    """Weights without values get no first ones: to draw them torch would load its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        if getattr(func, "__module__", "") == nn.init.__name__:  # they call the former elsewhere
            return kwargs["tensor"]
        return func(*args, **kwargs)
