"""Runs and bundles that several tests share."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer.main
import typer.testing
from filelock import FileLock
from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

import dlkit
from dlkit.bundle import Bundle
from dlkit.export.api import export
from dlkit.images import UInt8
from dlkit.mmwave import simulate
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.engine.run import Run
from dlkit.training.recipe import RECIPES

# A shell without job control starts what runs in the background with Ctrl-C ignored, and every
# command that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
gc.set_threshold(50_000)  # as the command has it: imports make no garbage

Once = Callable[[str, Path, Callable[[Path], object]], None]


def untrained_run(folder: Path, recipe_name: str, seed: int = 7) -> Path:
    """A run with fresh weights: enough to export, in no time."""
    example = RECIPES.load(recipe_name).example()
    recipe = replace(RECIPES.load(recipe_name), seed=seed, network=example.network)
    torch.manual_seed(recipe.seed)
    network = example.network.build()
    for module in network.modules():  # fresh ones would do nothing
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean, module.running_var = (
                0.1 * torch.randn(module.num_features), 0.5 + torch.rand(module.num_features)
            )  # fmt: skip
    run = Run(folder / recipe_name)
    run.save_recipe(recipe)
    run.save_checkpoint(
        {
            "network": network.state_dict(),
            "meaning": dict(example.meaning),
            "dataset": recipe.data,
            "fingerprint": "",
        }
    )
    return run.path


@pytest.fixture(scope="session", autouse=True)
def operators_read_once() -> Iterator[None]:
    """torch's exporter reads its library of operators anew for every export: half of its time."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(once))
        yield


@pytest.fixture(scope="session", autouse=True)
def commands_made_once() -> Iterator[None]:
    """typer makes all commands anew for each that is invoked: a third of the time of such tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For networks so small that threads wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes a folder once for all processes that run the tests; each gets a copy of its own."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    shared.mkdir(exist_ok=True)

    def get(name: str, target: Path, make: Callable[[Path], object]) -> None:
        whole = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not whole.exists():
                part = shared / f"{name}.part"
                shutil.rmtree(part, ignore_errors=True)  # of a test that failed
                make(part)
                part.rename(whole)
        shutil.copytree(whole, target)

    return get


@pytest.fixture(scope="session")
def bundle_of(tmp_path_factory: pytest.TempPathFactory, once: Once) -> Callable[[str, str], Bundle]:
    """Gives the bundle of a recipe with fresh weights, exported once."""
    folder = tmp_path_factory.mktemp("runs")
    made: dict[tuple[str, str], Bundle] = {}

    def get(recipe: str, precision: str) -> Bundle:
        if (recipe, precision) not in made:
            path = folder / recipe
            if not path.exists():
                once(
                    f"{recipe}-run",
                    path,
                    lambda part: untrained_run(part.parent, recipe).rename(part),
                )
            # torch traces once; bfloat16 alone needs a later opset
            source = get(recipe, "fp32") if precision in ("fp16", "int8") else path
            target = path / f"bundle-{precision}"
            once(f"{recipe}-{precision}", target, lambda part: export(source, precision, part))
            made[recipe, precision] = Bundle.open(target)
        return made[recipe, precision]

    return get


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 test digits as PNG files; the names begin with the label."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_labelled("mnist-mini")
    for index in range(60):
        name = f"{int(data.test_labels[index])}-{index:03d}.png"
        cv2.imwrite(str(folder / name), data.test_images[index])
    return folder


@pytest.fixture(scope="session")
def scan() -> UInt8:
    """A simulated scan of 170 x 101 pixels."""
    return simulate(3, (170, 101)).noisy


@pytest.fixture(scope="session")
def cleaned(scan: UInt8) -> UInt8:
    """What the shipped denoiser makes of it."""
    (found,) = dlkit.load("mmwave").denoise([scan])
    return found


@pytest.fixture(scope="session")
def scans_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small simulated scans, one in a subfolder, of different sizes."""
    from dlkit.mmwave import simulate

    folder = tmp_path_factory.mktemp("scans")
    (folder / "a b").mkdir()
    cv2.imwrite(str(folder / "one.png"), simulate(1, (170, 101)).noisy)
    scan = simulate(2, (168, 96)).noisy
    cv2.imwrite(str(folder / "a b" / "zwei-ü.png"), np.stack([scan] * 3, axis=2))
    return folder


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder of two small grey pictures."""
    folder = tmp_path / "scans"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), random.integers(0, 256, (64, 48), dtype=np.uint8))
    return folder
