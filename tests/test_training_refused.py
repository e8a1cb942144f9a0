"""Training that cannot go well is refused before it begins, and costs no run that is there."""

from __future__ import annotations

import errno
import os
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import MachineError, TrainingError, UsageError
from dlkit.export.api import export
from dlkit.export.weights import load_weights
from dlkit.training.classify.temperature import fit_temperature
from dlkit.training.engine.fabric import Hardware
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.recipe import RECIPES, Recipe
from dlkit.training.rehearsal import rehearse


def small(*settings: str, name: str = "lenet_plus") -> Recipe:
    return RECIPES.load(name).with_settings(["epochs=1", "batch_size=500", *settings])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "good"
    assert train(small(), out=path).finished
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
        ["channels=3"],
        ["resize=squeeze"],
        ["init=zeros"],
        ["optimizer=rmsprop"],
        ["schedule=cosine"],
        ["patience=3"],  # of a recipe that keeps the last weights
        ["batch_size=611"],  # 5,500 digits: nine batches and one digit
        ["epochs=0"],
        ["seed=-1"],
        ["seed=4294967296"],
        ["seed=1e20"],
        ["seed=100000000000000000000"],
    ],
)
def test_settings_without_sense_cost_no_run(settings: list[str], run: Path) -> None:
    before = (run / "checkpoint.pt").read_bytes()
    with pytest.raises(UsageError, match=settings[0].partition("=")[0]):
        train(small(*settings), out=run, overwrite=True)
    assert (run / "checkpoint.pt").read_bytes() == before


def test_layers_have_channels(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would have -5 channels, expected 1 or more"):
        train(small("hidden=-5", name="mlp"), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_torch_refuses_is_said(run: Path) -> None:
    with pytest.raises(UsageError, match="mlp: dropout probability"):
        train(small("dropout=2", name="mlp"), out=run, overwrite=True)


def test_parts_of_a_last_batch_are_counted_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be split"):
        train(small("batch_size=611"), out=tmp_path / "x", hardware=Hardware(accumulate=4))
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_an_empty_folder_stays_the_folder_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for _ in range(2):
        assert train(small(name="mlp"), out=tmp_path / "link", overwrite=True).finished
    assert (tmp_path / "disk" / "checkpoint.pt").is_file()
    assert (tmp_path / "link").is_symlink()


@pytest.mark.long
def test_resume_goes_on_in_the_precision_it_began_with(tmp_path: Path) -> None:
    def interrupt(now: Moment) -> None:
        if now.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    recipe, path = small(), tmp_path / "run"
    assert recipe.bfloat16
    assert not train(
        recipe, out=path, hardware=Hardware(precision="fp32"), watch=interrupt
    ).finished
    with pytest.raises(TrainingError, match=r"begun in fp32.*--precision fp32"):
        train(recipe, out=path, hardware=Hardware(precision="bf16"), resume=True)
    described = replace(recipe, about="the same in other words")
    assert train(described, out=path, hardware=Hardware(precision="fp32"), resume=True).finished


def test_a_bundle_without_batch_normalisation_is_no_beginning(tmp_path: Path) -> None:
    weights = load_weights("default", "recognize")
    with pytest.raises(
        TrainingError, match=r"no batch normalisation any more; give --init the run"
    ):
        train("digits", out=tmp_path / "run", weights=weights)
    assert not list(tmp_path.iterdir())


def test_a_run_begins_with_the_weights_that_are_exported(run: Path) -> None:
    weights = load_weights(str(run), "recognize")
    exported = Run(run).load_network().state_dict()
    assert all(torch.equal(weights[name], exported[name]) for name in exported)


OWN = (
    "curve.png",
    "confusion.png",
    "samples.webp",
    "log.jsonl",
    "tensorboard/events.out.tfevents.1",
)


@pytest.fixture
def few(tmp_path: Path) -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 8, 8), np.uint8)
    np.savez(tmp_path / "few.npz", images=pixels, labels=np.arange(60) % 3)
    return str(tmp_path / "few.npz")


@pytest.mark.parametrize("name", OWN)
def test_files_of_a_run_s_names_that_no_training_wrote(name: str, few: str, tmp_path: Path) -> None:
    """A recipe.json, as somebody copies it, is no leave to replace what lies beside it."""
    out = tmp_path / "out"
    file = out / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    Run(out).save_recipe(small(name="mlp"))
    words = ["train", "mlp", "--data", few, "--out", str(out), "--set", "batch_size=10", "--set",
             "epochs=1"]  # fmt: skip
    for more in ([], ["--resume"]):
        refused = CliRunner().invoke(app, [*words, *more])
        assert isinstance(refused.exception, TrainingError)
        assert f"{file} is there already, and neither a checkpoint" in str(refused.exception)
        assert file.read_text() == "mine"
    if name == OWN[0]:
        done = CliRunner().invoke(app, [*words, "--overwrite"])
        assert done.exit_code == 0, done.output
        assert file.read_bytes() != b"mine"


def test_a_recipe_of_a_stranger_is_no_run(few: str, tmp_path: Path) -> None:
    for text in ('{"flour": 500}', "[]", "bread"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "recipe.json").write_text(text)
        (tmp_path / "out" / "notes").write_text("mine")
        for more in ([], ["--overwrite"], ["--resume"]):
            words = ["train", "mlp", "--data", few, "--out", str(tmp_path / "out"), *more]
            assert isinstance(CliRunner().invoke(app, words).exception, TrainingError)
        assert (tmp_path / "out" / "recipe.json").read_text() == text
        assert (tmp_path / "out" / "notes").read_text() == "mine"


def test_two_trainings_do_not_write_into_one_folder(few: str, tmp_path: Path) -> None:
    seen: list[str] = []

    def second(now: Moment) -> None:
        if now.step == 1:
            for more in ("--overwrite", "--resume"):
                done = CliRunner().invoke(app, [*words, more])
                assert isinstance(done.exception, TrainingError), done.output
                seen.append(str(done.exception))

    out = tmp_path / "out"
    words = ["train", "mlp", "--data", few, "--out", str(out), "--set", "batch_size=10",
             "--set", "epochs=1"]  # fmt: skip
    recipe = RECIPES.load("mlp").with_settings(["epochs=1", "batch_size=10"])
    assert train(recipe, few, out, watch=second).finished
    assert len(seen) == 2
    assert all(f"another training writes into {out}" in text for text in seen)
    assert not (out / ".dlkit-lock").exists()


def test_what_a_callback_raises_is_what_comes(few: str, tmp_path: Path) -> None:
    def boom(now: Moment) -> None:
        raise ValueError("of the user's own")

    recipe = RECIPES.load("mlp").with_settings(["epochs=1", "batch_size=10"])
    with pytest.raises(ValueError, match="of the user's own"):
        train(recipe, few, tmp_path / "out", watch=boom)


def test_no_mistake_is_no_reason_to_be_sure() -> None:
    labels = torch.arange(10).repeat(5)
    logits = torch.eye(10)[labels]
    assert fit_temperature(logits, labels) == 1.0


@pytest.mark.long
def test_a_short_training_can_be_rehearsed() -> None:
    found = rehearse(small("batch_size=5500"), None, Hardware("cpu"))
    assert found.steps == 1
    assert found.seconds_a_step > 0


def test_what_goes_on_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupting(*given: Any, **named: Any) -> Moment:
        if given[0] == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return Moment(*given, **named)

    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 8, 8), np.uint8)
    np.savez("few.npz", images=pixels, labels=np.arange(60) % 3)
    words = ["train", "mlp", "--data", "few.npz", "--out", "my run", "--set", "batch_size=10"]
    with monkeypatch.context() as patched:
        patched.setattr("dlkit.training.engine.loop.Moment", interrupting)
        stopped = CliRunner().invoke(app, [*words, "--set", "epochs=1", "--overwrite"])
    assert stopped.exit_code == 130, stopped.output
    (said,) = (line for line in stopped.output.splitlines() if "go on with: " in line)
    pasted = shlex.split(said.partition("go on with: ")[2])
    assert pasted == ["dlkit", *words, "--set", "epochs=1", "--resume"]
    assert CliRunner().invoke(app, pasted[1:]).exit_code == 0
    other = CliRunner().invoke(app, [*pasted[1:], "--set", "epochs=9"])
    assert " -> 9)" in str(other.exception)
    assert "--init 'my run' begins with its weights" in str(other.exception)


def test_a_full_disk_is_said_in_python_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fills(now: Moment) -> None:
        monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(MachineError, match="No space left"):
        train(small(), out=tmp_path / "run", watch=fills)
    with pytest.raises(MachineError, match="No space left"):
        export("digits", "fp32", tmp_path / "copy")
