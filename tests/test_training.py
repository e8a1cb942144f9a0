"""Training learns, stops and resumes exactly, and the known GAN mistakes stay away."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from dlkit.errors import InputError, TrainingError, UsageError
from dlkit.idx import read_idx, write_idx
from dlkit.mmwave import simulate
from dlkit.tasks.denoise.pairs import load_pairs
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.engine import checkpoint, loop
from dlkit.training.engine.checkpoint import State
from dlkit.training.engine.fabric import Compute, Hardware, open_compute
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.engine.trainer import Trainer
from dlkit.training.gan.recipe import WganRecipe
from dlkit.training.gan.trainer import WganTrainer, gradient_penalty
from dlkit.training.recipe import RECIPES, Recipe, from_json

from .long import long

PAIRS = ["pairs=4", "held_out=1", "batch_size=2", "height=96", "width=64"]
TINY = {
    "mlp": ["epochs=2"],
    "wgan_small": ["iterations=4", "checkpoint_every=2", *PAIRS],
    "denoiser": ["steps=4", "epochs=2", "crop_width=64", *PAIRS],
}


def tiny(name: str) -> Recipe:
    return RECIPES.load(name).with_settings(TINY[name])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return Run(run).load_checkpoint()["network"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "name",
    ["mlp", long("wgan_small"), long("denoiser")],
)
def test_interrupted_and_resumed_ends_with_the_same_weights(name: str, tmp_path: Path) -> None:
    recipe = tiny(name)
    assert train(recipe, out=tmp_path / "whole").finished

    def interrupt(now: Moment) -> None:
        if now.step == 1 and now.metrics is None:
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt_later(now: Moment) -> None:
        if now.step == 3 and now.metrics is None:
            os.kill(os.getpid(), signal.SIGINT)

    cut = tmp_path / "cut"
    assert not train(recipe, out=cut, watch=interrupt).finished
    assert not train(recipe, out=cut, watch=interrupt_later, resume=True).finished
    assert train(recipe, out=cut, resume=True).finished
    one, other = weights(tmp_path / "whole"), weights(cut)
    assert all(torch.equal(one[key], other[key]) for key in one)
    metrics = [
        [
            {key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in (folder / "log.jsonl").read_text().splitlines()
        ]
        for folder in (tmp_path / "whole", cut)
    ]
    assert metrics[0] == metrics[1]
    assert (cut / "curve.png").stat().st_size > 1000


@pytest.mark.long
def test_a_killed_training_goes_on_from_within_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as time allows; here after every step."""
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0)
    monkeypatch.setattr(loop, "_SAVE_SHARE", 0)
    recipe = tiny("mlp")
    steps = []

    class Killed(BaseException):
        """As kill -9."""

    def kill(now: Moment) -> None:
        if now.step:
            steps.append((Run(tmp_path / "cut").load_checkpoint()["step"], now.step))
            raise Killed

    whole = train(recipe, out=tmp_path / "whole")
    for resume in (False, True, True):
        with pytest.raises(Killed):
            train(recipe, out=tmp_path / "cut", watch=kill, resume=resume)
    assert steps == [(1, 1), (2, 2), (3, 3)]
    assert whole.load_checkpoint()["step"] > 3
    assert train(recipe, out=tmp_path / "cut", resume=True).finished
    one, other = weights(whole.path), weights(tmp_path / "cut")
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_training_that_is_killed_at_its_last_checkpoint_lacks_no_file(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As kill -9."""

    def save_and_die(trainer: Trainer, run: Run, compute: Compute, state: State) -> None:
        if when == "after" or not state.finished:
            checkpoint.save(trainer, run, compute, state)
        if state.finished:
            raise Killed

    def found(run: Run) -> tuple[list[str], int, list[int]]:
        board = EventAccumulator(str(run.path / "tensorboard")).Reload()
        steps = [event.step for event in board.Scalars("val_loss")]
        return sorted(one.name for one in run.path.iterdir()), len(run.load_log()), steps

    whole = train(tiny("mlp"), out=tmp_path / "whole")
    with monkeypatch.context() as killed:
        killed.setattr(loop, "save", save_and_die)
        with pytest.raises(Killed):
            train(tiny("mlp"), out=tmp_path / "cut")
    ended = Run(tmp_path / "cut").load_checkpoint()
    assert ended["step"] == whole.load_checkpoint()["step"]  # no epoch is trained again
    assert ended["finished"] == (when == "after")
    time.sleep(1.1)  # TensorBoard orders a process's files by the second, then .10 before .9
    cut = train(tiny("mlp"), out=tmp_path / "cut", resume=True)
    assert cut.finished
    assert found(cut) == found(whole)


@pytest.mark.long
def test_lenet_learns_digits_that_it_has_not_seen(tmp_path: Path) -> None:
    run = train("lenet_relu", out=tmp_path / "run", epochs=3)
    _, first, *_, last, _ = run.load_log()
    assert first["val_accuracy"] < 0.3
    assert last["val_accuracy"] > 0.9


@pytest.mark.parametrize("name", RECIPES.names())
def test_recipe_survives_json(name: str) -> None:
    recipe = RECIPES.load(name)
    assert from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_settings() -> None:
    recipe = RECIPES.load("lenet").with_settings(
        ["epochs=2", "activation=relu", "network.width=0.5", "optimizer=adam", "keep_best=no"]
    )
    assert (recipe.network.config.activation, recipe.network.config.width) == ("relu", 0.5)
    assert recipe.to_json()["optimizer"]["name"] == "adam"
    assert recipe.to_json()["selection"]["keep_best"] is False
    with pytest.raises(UsageError, match=r"Did you mean epochs.*learning_rate"):
        recipe.with_settings(["epoch=2"])
    with pytest.raises(UsageError, match="expected a whole number"):
        recipe.with_settings(["epochs=two"])
    with pytest.raises(UsageError, match=r"which one\? network.normalize, critic.normalize"):
        RECIPES.load("wgan").with_settings(["normalize=false"])
    with pytest.raises(UsageError, match="Did you mean lenet"):
        RECIPES.load("lennet")


def test_a_run_is_not_lost_by_training_again(tmp_path: Path) -> None:
    recipe = tiny("mlp")
    train(recipe, out=tmp_path / "run")
    before = weights(tmp_path / "run")
    with pytest.raises(TrainingError, match="already holds a run"):
        train(recipe, out=tmp_path / "run")
    with pytest.raises(TrainingError, match=r"another recipe.*seed 0 -> 3"):
        train(replace(recipe, seed=3), out=tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="no dataset"):
        train(recipe, "nothing", tmp_path / "run", overwrite=True)
    assert all(torch.equal(before[key], value) for key, value in weights(tmp_path / "run").items())


def test_divergence_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Lower learning_rate") as none_kept:
        train(tiny("mlp"), out=tmp_path / "run", learning_rate=1e30)
    assert "checkpoint" not in str(none_kept.value)

    def interrupt(now: Moment) -> None:
        if now.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    run = train(tiny("mlp"), out=tmp_path / "cut", watch=interrupt)
    state = run.load_checkpoint()
    for value in state["network"].values():
        value.fill_(float("nan"))
    run.save_checkpoint(state)
    with pytest.raises(TrainingError, match=r"Lower learning_rate.*last checkpoint is kept"):
        train(tiny("mlp"), out=run.path, resume=True)


def test_penalty_takes_one_norm_per_sample() -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).sum(1, keepdim=True)

    # The gradient is 1 everywhere: its norm over a sample of 16 values is 4, so (4 - 1)^2.
    # A norm over channels alone would give 0, one over the whole batch (8 - 1)^2.
    images = torch.rand(4, 1, 4, 4)
    assert float(gradient_penalty(Sum(), images, images)) == pytest.approx(9.0)


def test_penalty_mixes_each_sample_with_its_own_coefficient() -> None:
    seen = []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.detach())
            return (x**2).flatten(1).sum(1, keepdim=True)

    gradient_penalty(Spy(), torch.ones(8, 1, 3, 3), torch.zeros(8, 1, 3, 3))
    flat = seen[0].flatten(1)
    assert torch.equal(flat.min(1).values, flat.max(1).values)  # one coefficient within a sample
    assert len(flat[:, 0].unique()) == 8  # another one for each


def test_penalty_trains_the_critic() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(9, 1))
    gradient_penalty(critic, torch.rand(2, 1, 3, 3), torch.rand(2, 1, 3, 3)).backward()
    assert critic[1].weight.grad is not None
    assert float(critic[1].weight.grad.abs().sum()) > 0


def test_critic_step_leaves_the_generator_alone() -> None:
    recipe = tiny("wgan_small")
    assert isinstance(recipe, WganRecipe)
    trainer = WganTrainer(recipe, recipe.data, open_compute(Hardware("cpu")))
    noisy, clean = trainer._batch()
    trainer.critic_step(noisy, clean)
    assert all(parameter.grad is None for parameter in trainer.trained.parameters())
    before = [parameter.clone() for parameter in trainer.critic.parameters()]
    trainer.generator_step(noisy, clean)
    after = list(trainer.critic.parameters())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in trainer.critic.modules())


def test_pairs_are_matched_by_name(tmp_path: Path) -> None:
    for side in ("noisy", "clean"):
        (tmp_path / side).mkdir()
    for level, name in enumerate(("b", "a", "c"), 1):
        image = np.full((8, 8), level, np.uint8)
        cv2.imwrite(str(tmp_path / "noisy" / f"{name}.png"), image)
        cv2.imwrite(str(tmp_path / "clean" / f"{name}.bmp"), image)
    pairs = load_pairs(tmp_path)
    assert all((one == other).all() for one, other in zip(pairs.noisy, pairs.clean, strict=True))
    (tmp_path / "clean" / "c.bmp").unlink()
    with pytest.raises(InputError, match=r"c\.png has no partner"):
        load_pairs(tmp_path)


def test_idx_round_trip_and_damage(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for name in ("a-ubyte", "a-ubyte.gz"):
        write_idx(tmp_path / name, array)
        assert (read_idx(tmp_path / name) == array).all()
    (tmp_path / "cut").write_bytes((tmp_path / "a-ubyte").read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        read_idx(tmp_path / "cut")


def test_bundled_digits() -> None:
    digits = load_labelled("mnist-mini")
    assert digits.train_images.shape == (6000, 28, 28)
    assert np.bincount(digits.test_labels).tolist() == [100] * 10
    assert digits.digits


def test_simulator_repeats_by_seed_and_takes_any_size() -> None:
    one, other, third = simulate(5, (96, 64)), simulate(5, (96, 64)), simulate(6, (96, 64))
    assert (one.noisy == other.noisy).all()
    assert (one.noisy != third.noisy).any()
    assert one.noisy.dtype == one.clean.dtype == np.uint8
    assert simulate(1, (131, 77)).clean.shape == (131, 77)
