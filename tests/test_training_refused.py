"""Training that cannot go well is refused before it begins, and costs no run that is there."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dlkit.errors import TrainingError, UsageError
from dlkit.export.weights import load_weights
from dlkit.training.compute import Hardware
from dlkit.training.loop import Progress
from dlkit.training.recipe import Recipe, load_recipe
from dlkit.training.rehearsal import rehearse
from dlkit.training.run import Run
from dlkit.training.start import train
from dlkit.training.temperature import fit_temperature


def small(*settings: str, name: str = "lenet_plus") -> Recipe:
    return load_recipe(name).with_settings(["epochs=1", "batch_size=500", *settings])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "good"
    assert train(small(), path)
    return path


@pytest.mark.parametrize(
    "settings",
    [
        ["label_smoothing=2"],
        ["mixup=-1"],
        ["warmup=1.5"],
        ["ema_decay=1"],
        ["learning_rate=-1"],
        ["learning_rate=nan"],
        ["weight_decay=-1"],
        ["classes=5"],
        ["patience=3"],  # of a recipe that keeps the last weights
        ["batch_size=611"],  # 5,500 digits: nine batches and one digit
        ["epochs=0"],
    ],
)
def test_settings_without_sense_cost_no_run(settings: list[str], run: Path) -> None:
    before = (run / "checkpoint.pt").read_bytes()
    with pytest.raises(UsageError, match=settings[0].partition("=")[0]):
        train(small(*settings), run, overwrite=True)
    assert (run / "checkpoint.pt").read_bytes() == before


def test_what_torch_refuses_is_said(run: Path) -> None:
    with pytest.raises(UsageError, match="mlp: dropout probability"):
        train(small("dropout=2", name="mlp"), run, overwrite=True)


def test_parts_of_a_last_batch_are_counted_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be split"):
        train(small("batch_size=611"), tmp_path / "x", hardware=Hardware(accumulate=4))
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_stays_the_folder_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for _ in range(2):
        assert train(small(name="mlp"), tmp_path / "link", overwrite=True)
    assert (tmp_path / "disk" / "checkpoint.pt").is_file()
    assert (tmp_path / "link").is_symlink()


def test_resume_goes_on_in_the_precision_it_began_with(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    recipe, path = small(), tmp_path / "run"
    assert recipe.bfloat16
    assert not train(recipe, path, hardware=Hardware(precision="fp32"), watch=interrupt)
    with pytest.raises(TrainingError, match=r"begun in fp32.*--precision fp32"):
        train(recipe, path, resume=True)
    described = replace(recipe, about="the same in other words")
    assert train(described, path, hardware=Hardware(precision="fp32"), resume=True)


def test_a_bundle_without_batch_normalisation_is_no_beginning(tmp_path: Path) -> None:
    weights = load_weights("default", "recognize")
    with pytest.raises(
        TrainingError, match=r"no batch normalisation any more; give --init the run"
    ):
        train(load_recipe("digits"), tmp_path / "run", init=weights)
    assert not list(tmp_path.iterdir())


def test_a_run_begins_with_the_weights_that_are_exported(run: Path) -> None:
    weights = load_weights(str(run), "recognize")
    exported = Run(run).load_network().state_dict()
    assert all(torch.equal(weights[name], exported[name]) for name in exported)


def test_no_mistake_is_no_reason_to_be_sure() -> None:
    labels = torch.arange(10).repeat(5)
    logits = torch.eye(10)[labels]
    assert fit_temperature(logits, labels) == 1.0


def test_a_short_training_can_be_rehearsed() -> None:
    found = rehearse(small("batch_size=5500"), None, Hardware("cpu"))
    assert found.steps == 1
    assert found.seconds_a_step > 0
