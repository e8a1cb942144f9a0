"""The fast form of a step computes what the network itself does."""

from __future__ import annotations

import gc
import json
import os
import signal
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit.training.architectures import lenet
from dlkit.training.columns import in_columns
from dlkit.training.compute import Hardware
from dlkit.training.loop import Progress
from dlkit.training.recipe import ARCHITECTURES, RECIPES, load_recipe
from dlkit.training.run import Run
from dlkit.training.start import train
from dlkit.training.trainers.classify import ClassifyRecipe


def answers(network: nn.Module, form: nn.Module, size: int, count: int) -> list[Tensor]:
    """Logits of a batch, and every gradient."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.rand(count, 1, size, size, generator=generator)
    labels = torch.randint(10, (count,), generator=generator)
    network.zero_grad()
    logits = form(pixels)
    F.cross_entropy(logits, labels).backward()
    gradients = [one.grad for one in network.parameters()]
    return [logits.detach(), *(one.clone() for one in gradients if one is not None)]


def assert_the_same(network: nn.Module, size: int) -> None:
    form = in_columns(network, size)
    assert form is not network
    for count in (37, 1, 37, 16):  # what it keeps from batch to batch must not show
        expected = answers(network, network, size, count)
        found = answers(network, form, size, count)
        assert len(expected) == len(found) == 1 + len(list(network.parameters()))
        for one, other in zip(expected, found, strict=True):
            assert one.shape == other.shape
            assert (one - other).norm() <= 1e-4 * one.norm()


def test_recipes_in_columns_give_the_same_and_the_others_stay() -> None:
    in_them = set()
    for name in RECIPES.names():
        recipe = load_recipe(name)
        if not isinstance(recipe, ClassifyRecipe) or recipe.network.image_size > 32:
            continue
        torch.manual_seed(0)
        network = ARCHITECTURES.load(recipe.architecture).build(recipe.network)
        if in_columns(network, recipe.network.image_size) is not network:
            assert_the_same(network, recipe.network.image_size)
            in_them.add(name)
    assert in_them == {"lenet", "lenet_relu"}


@pytest.mark.parametrize(
    "network",
    [
        lenet.Config(width=2.0, activation="tanh"),
        lenet.Config(width=0.5, image_size=32),
        lenet.Config(activation="relu", image_size=36, classes=13),
    ],
)
def test_any_width_and_size(network: lenet.Config) -> None:
    torch.manual_seed(0)
    assert_the_same(lenet.build(network), network.image_size)


def test_padding_inside_and_other_kernels() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2, 2),
        nn.Conv2d(4, 8, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2, 2),
        nn.Conv2d(8, 8, 1), nn.Identity(), nn.AvgPool2d(2, 2),
        nn.Flatten(), nn.Linear(32, 16), nn.Linear(16, 10), nn.Sigmoid(),
    )  # fmt: skip
    assert_the_same(network, 16)


@pytest.mark.parametrize(
    "network",
    [
        lenet.Config(pooling="max"),
        lenet.Config(batch_norm=True),
        lenet.Config(activation="gelu"),
        lenet.Config(image_size=30),  # 11 pixels before the second pooling
    ],
)
def test_what_does_not_fit_stays_as_it_is(network: lenet.Config) -> None:
    built = lenet.build(network)
    assert in_columns(built, network.image_size) is built


def test_a_head_that_is_not_understood_stays_as_it_is() -> None:
    block = [nn.Conv2d(1, 2, 5), nn.ReLU(), nn.AvgPool2d(2, 2)]
    head = [nn.Flatten(), nn.Linear(288, 10)]
    other = nn.AvgPool2d(2, 2, divisor_override=1)
    for modules in (
        [*block, *head, nn.Dropout()],
        [*block, *head, nn.ReLU(), nn.Tanh()],
        [*block, *head, nn.BatchNorm1d(10)],
        [*block, nn.Flatten()],
        [*block[:2], other, *head],
    ):
        network = nn.Sequential(*modules)
        assert in_columns(network, 28) is network


def test_nothing_is_held_after_a_step() -> None:
    """What a step keeps for its gradients must not wait for the garbage collector."""
    network = lenet.build(lenet.Config())
    form = in_columns(network, 28)
    gc.disable()
    try:
        logits = form(torch.rand(2, 1, 28, 28))
        held = weakref.ref(logits.grad_fn)  # type: ignore[type-var]
        logits.sum().backward()
        del logits
        assert held() is None
    finally:
        gc.enable()


def test_trained_in_bfloat16_it_resumes_exactly_and_learns(tmp_path: Path) -> None:
    recipe = load_recipe("lenet_relu")
    assert isinstance(recipe, ClassifyRecipe)
    recipe = replace(recipe, epochs=2)
    bfloat16 = Hardware("cpu", precision="bf16")

    def interrupt(progress: Progress) -> None:
        if progress.step == 20:
            os.kill(os.getpid(), signal.SIGINT)

    assert train(recipe, tmp_path / "whole", hardware=bfloat16)
    assert not train(recipe, tmp_path / "cut", hardware=bfloat16, watch=interrupt)
    assert train(recipe, tmp_path / "cut", hardware=bfloat16, resume=True)
    one, other = (Run(tmp_path / name).load_checkpoint() for name in ("whole", "cut"))
    assert all(torch.equal(one["network"][key], other["network"][key]) for key in one["network"])
    assert json.loads(one["log"])[-1]["test_accuracy"] > 0.9
