"""Fine-tuning that keeps the weights where it brings nothing."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dlkit import images
from dlkit.cli import app
from dlkit.errors import InputError, TrainingError, UsageError
from dlkit.export.weights import load_weights
from dlkit.mmwave import simulate
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.recipe import RECIPES
from dlkit.training.restore.adapt import STRENGTHS, AdaptTrainer
from dlkit.training.restore.recipe import AdaptRecipe, PairedRecipe

CPU = open_compute(Hardware("cpu"))
SIZE = (160, 96)


def pairs_in(folder: Path, count: int, change: int = 0) -> Path:
    """Pairs of a small scanner whose retoucher makes all of it darker by ``change``."""
    for seed in range(count):
        scan = simulate(seed, SIZE)
        clean = cv2.subtract(scan.clean, np.full_like(scan.clean, change))
        images.write(folder / "noisy" / f"{seed}.png", scan.noisy)
        images.write(folder / "clean" / f"{seed}.png", np.asarray(clean, np.uint8))
    return folder


def small(folder: Path, **changes: Any) -> AdaptRecipe:
    recipe = RECIPES.load("denoiser").fine_tuning(str(folder))
    assert isinstance(recipe, AdaptRecipe)
    return replace(recipe, **{"steps": 3, "pairs": 4, "batch_size": 2, "height": SIZE[0],
                              "width": SIZE[1], **changes})  # fmt: skip


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = Run(path).load_checkpoint()["network"]
    return found


def test_a_folder_of_pairs_is_adapted_to_and_simulated_scans_trained_on(tmp_path: Path) -> None:
    recipe = RECIPES.load("denoiser")
    assert isinstance(recipe.fine_tuning(str(tmp_path)), AdaptRecipe)
    assert isinstance(recipe.fine_tuning("simulated"), PairedRecipe)
    other = replace(recipe, network=RECIPES.load("pix2pix").network)
    assert isinstance(other.fine_tuning(str(tmp_path)), PairedRecipe)  # names no layers for it
    with pytest.raises(UsageError, match="another scanner"):
        AdaptTrainer(small(tmp_path), "simulated", CPU)


@pytest.mark.long
def test_where_nothing_is_gained_the_weights_stay_exactly(tmp_path: Path) -> None:
    folder = pairs_in(tmp_path / "pairs", 2)
    weights = load_weights("default", "denoise")
    run = train(small(folder, least_gain=90.0), folder, tmp_path / "run", weights=weights)
    after = weights_of(tmp_path / "run")
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    assert run.load_log()[-1]["strength"] == 0


@pytest.mark.long
def test_what_all_pairs_have_in_common_is_learnt_by_few_numbers(tmp_path: Path) -> None:
    folder = pairs_in(tmp_path / "pairs", 3, change=30)
    weights = load_weights("default", "denoise")
    recipe = small(folder, steps=25, simulated_share=0.0, most_lost=20.0)
    run = train(recipe, folder, tmp_path / "run", weights=weights)
    end = run.load_log()[-1]
    assert end["strength"] in STRENGTHS
    assert end["gain"] >= 0.05
    after = weights_of(tmp_path / "run")
    changed = {name for name in weights if not torch.equal(weights[name], after[name])}
    assert changed == {"maps.weight", "maps.bias"}
    factor = after["maps.weight"] / weights["maps.weight"]
    assert torch.allclose(factor, factor.mean((1, 2, 3), keepdim=True), atol=1e-4)


def test_what_simulated_scans_would_lose_is_not_taken(tmp_path: Path) -> None:
    folder = pairs_in(tmp_path / "pairs", 2, change=30)
    trainer = AdaptTrainer(small(folder), str(folder), CPU)
    nothing = {name: one.clone() for name, one in trainer.network.state_dict().items()}
    trainer.halved = True
    trainer.gains = [[0.1, 0.2, 0.4], [0.1, 0.2, 0.4], [-0.01, -0.06, -0.3]]
    assert trainer.finish(tmp_path)["strength"] == STRENGTHS[0]
    trainer.halved = False
    assert trainer.finish(tmp_path)["strength"] == 1
    for gains in ([[1.0, 1.0, 1.0], [-0.2, -0.2, -0.2], [0.0, 0.0, 0.0]],
                  [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [-3.1, -3.2, -3.3]],
                  [[0.01, 0.01, 0.01], [0.01, 0.01, 0.01], [0.0, 0.0, 0.0]]):  # fmt: skip
        trainer.gains = gains
        assert trainer.finish(tmp_path)["strength"] == 0
    after = trainer.network.state_dict()
    assert all(torch.equal(one, nothing[name]) for name, one in after.items())


@pytest.mark.parametrize(
    ("change", "gains"),
    [
        ({"least_gain": 1.5}, ([1, 1, 1], [1, 1, 1], [0, 0, 0])),
        ({"most_lost": 0.01}, ([1, 1, 1], [-0.02, -0.02, -0.02], [0, 0, 0])),
        ({"simulated_lost": 0.2}, ([1, 1, 1], [1, 1, 1], [-0.3, -0.3, -0.3])),
    ],
)
def test_how_much_is_asked_of_an_adaptation_can_be_set(
    change: dict[str, float], gains: tuple[list[float], ...], tmp_path: Path
) -> None:
    folder = pairs_in(tmp_path / "pairs", 2)
    for changes, strength in (({}, 1), (change, 0)):
        trainer = AdaptTrainer(small(folder, pairs=2, **changes), str(folder), CPU)
        trainer.gains = [*gains]
        assert trainer.finish(tmp_path)["strength"] == strength


def test_a_single_pair_is_halved_and_many_are_left_out_in_parts(tmp_path: Path) -> None:
    one = pairs_in(tmp_path / "one", 1)
    trainer = AdaptTrainer(small(one), str(one), CPU)
    assert [part.noisy[0].shape for part in trainer.parts] == [(160, 48), (160, 48)]
    assert trainer.epochs == 3
    assert trainer.halved
    many = pairs_in(tmp_path / "many", 5)
    trainer = AdaptTrainer(small(many, folds=2), str(many), CPU)
    assert [len(part.noisy) for part in trainer.parts] == [3, 2]
    narrow = tmp_path / "narrow"
    for side in ("noisy", "clean"):
        images.write(narrow / side / "0.png", np.zeros((64, 48), np.uint8))
    with pytest.raises(InputError, match="no halves"):
        AdaptTrainer(small(narrow), str(narrow), CPU)
    images.write(one / "noisy" / "a.png", np.zeros((6, 6), np.uint8))
    images.write(one / "clean" / "a.png", np.zeros((6, 6), np.uint8))
    with pytest.raises(InputError, match="the pair a has 6 x 6 pixels"):
        AdaptTrainer(small(one), str(one), CPU)
    with pytest.raises(UsageError, match="height"):
        small(many, height=4).check()


def test_copies_of_a_pair_do_not_vouch_for_each_other(tmp_path: Path) -> None:
    folder = pairs_in(tmp_path, 1)
    for side in ("noisy", "clean"):
        shutil.copy(folder / side / "0.png", folder / side / "copy.png")
    trainer = AdaptTrainer(small(folder), str(folder), CPU)
    assert trainer.halved
    assert "1 of 2 pairs show what others show" in trainer.notes[-1]


@pytest.mark.long
def test_adapting_resumes_exactly(tmp_path: Path) -> None:
    folder = pairs_in(tmp_path / "pairs", 2, change=30)
    weights = load_weights("mmwave", "denoise")
    recipe = small(folder, simulated_share=0.5, least_gain=0.0, most_lost=20.0)

    def interrupt(now: Moment) -> None:
        if now.step == 4:  # in the second adaptation
            os.kill(os.getpid(), signal.SIGINT)

    assert train(recipe, folder, tmp_path / "whole", weights=weights).finished
    cut = tmp_path / "cut"
    assert not train(recipe, folder, cut, weights=weights, watch=interrupt).finished
    assert train(recipe, folder, cut, resume=True).finished
    one, other = weights_of(tmp_path / "whole"), weights_of(cut)
    assert all(torch.equal(one[name], other[name]) for name in one)
    ends = [Run(path).load_log()[-1] for path in (tmp_path / "whole", cut)]
    assert ends[0] == ends[1]


@pytest.mark.long
def test_the_command_says_what_was_gained(tmp_path: Path) -> None:
    folder = pairs_in(tmp_path / "pairs", 1)
    settings = ("steps=1", "pairs=2", "batch_size=1", "height=160", "width=96", "least_gain=90")
    done = CliRunner().invoke(app, [
        "train", "denoiser", "--data", str(folder), "--init", "default", "--out",
        str(tmp_path / "run"), *[word for one in settings for word in ("--set", one)],
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "no gain: kept the weights that it began with" in done.output
    words = ["train", "denoiser", "--data", str(folder), "--out", str(tmp_path / "run"), "--resume"]
    forgot = CliRunner().invoke(app, words)
    assert isinstance(forgot.exception, TrainingError)
    assert "same --init" in (forgot.exception.mend or "")
