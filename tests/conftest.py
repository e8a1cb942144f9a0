"""Runs and bundles that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dlkit.bundle import Bundle
from dlkit.export.onnx import export_run
from dlkit.training.data.digits import load_digits
from dlkit.training.recipe import ARCHITECTURES, RECIPES, load_recipe
from dlkit.training.run import Run

_MANY_PARAMETERS = 10_000_000


def small_recipes() -> list[str]:
    """Every recipe that is small enough for two cores; at least one for every architecture.

    Of those whose networks differ in width alone, the smallest.
    """
    smallest: dict[object, tuple[int, str]] = {}
    for name in RECIPES.names():
        recipe = load_recipe(name)
        with torch.device("meta"):
            network = ARCHITECTURES.load(recipe.architecture).build(recipe.network)
        size = sum(parameter.numel() for parameter in network.parameters())
        if size < _MANY_PARAMETERS and not name.endswith(("wgan", "googlenet")):
            shape = replace(recipe.network, width=1) if recipe.task == "recognize" else name
            smallest[shape] = min((size, name), smallest.get(shape, (size, name)))
    return sorted(name for _, name in smallest.values())


def untrained_run(folder: Path, recipe_name: str, seed: int = 7) -> Path:
    """A run with fresh weights: enough to export, in no time."""
    recipe = replace(load_recipe(recipe_name), seed=seed)
    torch.manual_seed(recipe.seed)
    network = ARCHITECTURES.load(recipe.architecture).build(recipe.network)
    for module in network.modules():  # fresh ones would do nothing
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean, module.running_var = (
                0.1 * torch.randn(module.num_features), 0.5 + torch.rand(module.num_features)
            )  # fmt: skip
    run = Run(folder / recipe_name)
    run.save_recipe(recipe)
    run.save_checkpoint({"network": network.state_dict()})
    return run.path


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Bundle]:
    """Gives the bundle of a recipe with fresh weights, exported once."""
    folder = tmp_path_factory.mktemp("runs")
    made: dict[tuple[str, str], Bundle] = {}

    def get(recipe: str, precision: str) -> Bundle:
        if (recipe, precision) not in made:
            path = folder / recipe
            if not path.exists():
                untrained_run(folder, recipe)
            made[recipe, precision] = export_run(path, precision)
        return made[recipe, precision]

    return get


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 test digits as PNG files; the names begin with the label."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits("mnist-mini")
    for index in range(60):
        name = f"{int(data.test_labels[index])}-{index:03d}.png"
        cv2.imwrite(str(folder / name), data.test_images[index].numpy())
    return folder


@pytest.fixture(scope="session")
def scans_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small simulated scans, one in a subfolder, of different sizes."""
    from dlkit.training.data.mmwave import simulate

    folder = tmp_path_factory.mktemp("scans")
    (folder / "a b").mkdir()
    cv2.imwrite(str(folder / "one.png"), simulate(1, (170, 101)).noisy)
    scan = simulate(2, (168, 96)).noisy
    cv2.imwrite(str(folder / "a b" / "zwei-ü.png"), np.stack([scan] * 3, axis=2))
    return folder
