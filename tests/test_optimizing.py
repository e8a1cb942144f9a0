"""What a step of a classifier is made of, each part by what it does; and runs that go astray."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlkit.errors import TrainingError
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.classify.batches import Batches
from dlkit.training.classify.optimizer import build_optimizer
from dlkit.training.classify.recipe import ClassifyRecipe, Optimizer
from dlkit.training.engine.fabric import Compute, Hardware, open_compute
from dlkit.training.engine.loop import Moment, run_training
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.engine.trainer import Trainer
from dlkit.training.recipe import RECIPES

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_weight_decay_leaves_biases_and_normalisations_alone(name: str) -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with torch.no_grad():
        for one in network.parameters():
            one.fill_(1.0)
            one.grad = torch.zeros_like(one)
    build_optimizer(Optimizer(name, learning_rate=0.1, weight_decay=0.5), network, "fp32").step()
    found = {key: float(one.detach().mean()) for key, one in network.named_parameters()}
    assert found.pop("0.weight") == pytest.approx(0.95)
    assert found == dict.fromkeys(found, 1.0)


def test_mixup_mixes_pictures_and_targets_by_the_same_share(tmp_path: Path) -> None:
    labels = np.arange(40) % 10
    images = np.broadcast_to((20 * labels)[:, None, None], (40, 28, 28)).astype(np.uint8)
    np.savez(tmp_path / "flat.npz", images=images, labels=labels)
    recipe = RECIPES.load("mlp").with_settings(["mixup=1", "validation=0", "batch_size=32"])
    assert isinstance(recipe, ClassifyRecipe)
    trainer = recipe.trainer(str(tmp_path / "flat.npz"), open_compute(Hardware("cpu")))
    batches = Batches(
        trainer.recipe, load_labelled(str(tmp_path / "flat.npz")), torch.device("cpu")
    )
    pixels, targets = batches.batch(0, 0)(slice(0, 32))
    assert torch.allclose(targets.sum(1), torch.ones(32))
    assert int((targets.amax(1) < 0.99).sum()) > 10  # most are mixed of two classes
    assert torch.allclose(pixels.mean((1, 2)), targets @ (20 * torch.arange(10.0)), atol=1e-3)


def test_compile_compiles_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a compiler that only looks on: the real one would take a minute."""
    seen: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        seen.append(len(list(graph.graph.nodes)))
        return graph.forward

    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_(self, backend=backend))
    recipe = RECIPES.load("mlp").with_settings(["batch_size=3000", "epochs=1"])
    train(recipe, out=tmp_path / "plain")
    assert not seen
    train(recipe, out=tmp_path / "compiled", hardware=Hardware(compile=True))
    assert seen
    torch._dynamo.reset()


class Scripted(Trainer):
    """Loses what it is told to."""

    def __init__(self, losses: list[list[float]]) -> None:
        self.recipe = RECIPES.load("mlp")
        self.network = nn.Linear(1, 1)
        self.epochs, self.steps_per_epoch = len(losses), len(losses[0])
        self.dataset, self.fingerprint, self.notes = "script", "", []
        self.losses = losses

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        return {"loss": torch.tensor(self.losses[epoch][index])}

    def evaluate(self) -> Mapping[str, float]:
        return {}

    def meaning(self) -> dict[str, Any]:
        return {}

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        pass


def play(losses: list[list[float]], folder: Path) -> list[Moment]:
    seen: list[Moment] = []
    run = Run(folder)
    run.save_recipe(RECIPES.load("mlp"))
    run_training(Scripted(losses), run, open_compute(Hardware("cpu")), False, seen.append)
    return seen


def test_a_loss_that_runs_away_is_said(tmp_path: Path) -> None:
    play([[1.0] * 3, [99.0] * 3], tmp_path / "large")
    with pytest.raises(TrainingError, match=r"rose to 150 at step 6, from 1 in the first epoch"):
        play([[1.0] * 3, [50.0, 150.0, 250.0]], tmp_path / "larger")
    with pytest.raises(TrainingError, match=r"rose to .* at step 30, "):
        play([[1.0] * 20, [300.0] * 20], tmp_path / "soon")
    with pytest.raises(TrainingError, match="became nan at step 2"):
        play([[1.0, float("nan"), 1.0]], tmp_path / "nan")


def test_a_device_is_waited_for_every_few_steps_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the log's means are those of every step, and nobody looks at each."""
    looked: list[int] = []
    mean = Compute.mean

    def counted(self: Compute, values: dict[str, Tensor]) -> dict[str, Tensor]:
        looked.append(len(values))
        return mean(self, values)

    losses = [[float(number + index) for index in range(24)] for number in (1, 5)]
    monkeypatch.setattr(
        "dlkit.training.engine.loop._time_to_look", lambda _, index: index % 10 == 9
    )
    monkeypatch.setattr(Compute, "mean", counted)
    seen = play(losses, tmp_path / "run")
    assert len(looked) == 2 * 3
    means = [entry["loss"] for entry in Run(tmp_path / "run").load_log() if entry.get("epoch")]
    assert means == [sum(one) / 24 for one in losses]
    assert [now.losses.get("loss") for now in seen if now.step in (9, 10, 11)] == [None, 5.5, 5.5]
    with pytest.raises(TrainingError, match="became nan at step 10"):
        play([[1.0, float("nan")] * 10], tmp_path / "nan")
