"""Which recipes are exported, in which precision: every small one, in every precision.

They are discovered, so a new recipe is tested as soon as it is there. Tracing is what takes time,
so of those whose networks differ in width alone one stands for all.
"""

import pytest
import torch

from dlkit.training.recipe import RECIPES

_MOST_PARAMETERS = 3_000_000  # above it a recipe is for a GPU
# Traced in make test, in these; the others are in make test-long.
QUICK, QUICK_PRECISIONS = ("lenet", "gan"), ("fp32", "fp16")
ELSEWHERE = {
    ("denoiser", "int8"): "takes minutes; test_int8 has the shipped one",
    ("cyclegan_small", "int8"): "takes minutes; it is refused once it is trained (docs/parity.md)",
    ("finder", "int8"): "is calibrated on arrays that must be named",
}


def _small() -> list[str]:
    """Of the recipes whose networks have the same kinds of layers in a row, the smallest."""
    smallest: dict[object, tuple[int, str]] = {}
    for name in RECIPES.names():
        recipe = RECIPES.load(name)
        with torch.device("meta"):
            network = recipe.example().network.build()
        size = sum(parameter.numel() for parameter in network.parameters())
        if size < _MOST_PARAMETERS:
            kinds = tuple(type(module).__name__ for module in network.modules())
            key = (recipe.network.architecture, kinds)
            smallest[key] = min((size, name), smallest.get(key, (size, name)))
    return sorted(name for _, name in smallest.values())


def _cases(*precisions: str) -> list[object]:
    found = []
    for precision in precisions:
        for name in COVERED:
            quick = name in QUICK and precision in QUICK_PRECISIONS
            if (name, precision) not in ELSEWHERE:
                marks = () if quick else pytest.mark.long
                found.append(pytest.param(name, precision, marks=marks))
    return found


COVERED = _small()
FULL = _cases("fp32")
LOWERED = _cases("fp16", "bf16", "int8")
