"""Runs and bundles that several tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dlkit.bundle import Bundle
from dlkit.export.onnx import export_run
from dlkit.training.data.digits import load_digits
from dlkit.training.recipe import ARCHITECTURES, load_recipe
from dlkit.training.run import Run


def untrained_run(folder: Path, recipe_name: str) -> Path:
    """A run with fresh weights: enough to export, in no time."""
    recipe = replace(load_recipe(recipe_name), seed=7)
    torch.manual_seed(recipe.seed)
    network = ARCHITECTURES.load(recipe.architecture).build(recipe.network)
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
