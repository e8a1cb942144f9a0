"""Training classifiers: data, deformations, resume, several processes, honest probabilities."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import UsageError
from dlkit.idx import write_idx
from dlkit.processors import has_bfloat16
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.tasks.recognize.pixels import PixelClassifier
from dlkit.training.classify.batches import Batches
from dlkit.training.classify.outliers import outliers
from dlkit.training.classify.recipe import ClassifyRecipe
from dlkit.training.classify.trainer import ClassifyTrainer
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.recipe import RECIPES
from dlkit.training.rehearsal import rehearse

from .long import long

ROOT = Path(__file__).parent.parent


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of 600 digits to train on and 100 to test on."""
    folder = tmp_path_factory.mktemp("few")
    digits = load_labelled("mnist-mini")
    write_idx(folder / "train-images-idx3-ubyte", digits.train_images[:600])
    write_idx(folder / "train-labels-idx1-ubyte", digits.train_labels[:600].astype(np.uint8))
    write_idx(folder / "t10k-images-idx3-ubyte", digits.test_images[::10])
    write_idx(folder / "t10k-labels-idx1-ubyte", digits.test_labels[::10].astype(np.uint8))
    return str(folder)


def modern(*settings: str) -> ClassifyRecipe:
    """Everything that has a state or draws numbers, at once."""
    recipe = RECIPES.load("resnet_small").with_settings(
        [
            "network.width=0.0625", "epochs=2", "batch_size=64", "optimizer=adam",
            "schedule=one_cycle", "learning_rate=0.01", "rotate=10", "scale=0.1", "shear=0.1",
            "shift=2", "elastic=1", "label_smoothing=0.05", "mixup=0.2", "ema_decay=0.9",
            "clip_norm=1", "bfloat16=true", "channels_last=true", "settle=0.5", "keep_best=true",
            *settings,
        ]
    )  # fmt: skip
    assert isinstance(recipe, ClassifyRecipe)
    return recipe


LENET = RECIPES.load("lenet_relu").network
CPU = torch.device("cpu")


def with_lenet(recipe: ClassifyRecipe) -> ClassifyRecipe:
    return replace(recipe, network=LENET)


def batches_of(recipe: ClassifyRecipe, data: str) -> Batches:
    found = load_labelled(data)
    network = recipe.network.filled(image_size=28, channels=1, classes=10)
    return Batches(replace(recipe, network=network), found, CPU)


def log(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key != "seconds"} for line in lines]


@pytest.mark.long
@pytest.mark.parametrize("step", [3, long(12)])
def test_resumed_in_the_middle_of_an_epoch_ends_with_the_same_weights(
    step: int, few: str, tmp_path: Path
) -> None:
    def interrupt(now: Moment) -> None:
        if now.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    assert train(modern(), few, tmp_path / "whole").finished
    assert not train(modern(), few, tmp_path / "cut", watch=interrupt).finished
    assert train(modern(), None, tmp_path / "cut", resume=True).finished  # on the same data
    one, other = (Run(tmp_path / name).load_checkpoint() for name in ("whole", "cut"))
    assert all(torch.equal(one["network"][key], other["network"][key]) for key in one["network"])
    assert one["meaning"] == other["meaning"]
    assert one["meaning"]["temperature"] != 1.0
    assert log(tmp_path / "whole") == log(tmp_path / "cut")


@pytest.mark.long
def test_seed_decides_everything(few: str, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((1, 1, 2)):
        torch.rand(number)  # what ran before does not matter
        train(modern(), few, tmp_path / str(number), seed=seed, epochs=1)
        found.append(Run(tmp_path / str(number)).load_checkpoint()["network"])
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    assert any(not torch.equal(found[0][key], found[2][key]) for key in found[0])


@pytest.mark.long
def test_two_processes_give_the_curve_of_one(few: str, tmp_path: Path) -> None:
    """By --devices and by torchrun; batches of 63 and a last one that is smaller do not halve."""
    settings = ["epochs=2", "batch_size=63", "elastic=1", "rotate=10", "mixup=0.2"]
    assert train(RECIPES.load("lenet_relu").with_settings(settings), few, tmp_path / "one").finished
    command = ["dlkit", "train", "lenet_relu", "--data", few]
    command += [part for setting in settings for part in ("--set", setting)]
    torchrun = ["torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29713", "-m"]
    ways = {"devices": [*command, "--devices", "2"], "torchrun": torchrun + command}
    for name, arguments in ways.items():
        done = subprocess.run(
            [sys.executable, "-m", *arguments, "--out", str(tmp_path / name)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(str(tmp_path / name)) == 1  # one of them speaks
        assert done.stderr.count("test accuracy") == 1
    logs = {name: log(tmp_path / name) for name in ("one", *ways)}
    assert logs["one"][0]["processes"] == 1
    assert logs["devices"][0]["processes"] == logs["torchrun"][0]["processes"] == 2
    for name in ("devices", "torchrun"):
        for mine, its in zip(logs["one"][2:4], logs[name][2:4], strict=True):
            assert mine["loss"] == pytest.approx(its["loss"], rel=2e-3)
            assert mine["val_loss"] == pytest.approx(its["val_loss"], rel=1e-2)


def test_accumulated_parts_make_the_same_step(few: str) -> None:
    recipe = with_lenet(modern("bfloat16=false", "ema_decay=0"))
    found = []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        compute = open_compute(Hardware("cpu", accumulate=accumulate))
        trainer = ClassifyTrainer(recipe, few, compute)
        losses = [float(trainer.step(0, index)["loss"]) for index in range(3)]
        found.append((losses, torch.cat([one.flatten() for one in trainer.network.parameters()])))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-3)


def test_hardware_that_is_not_there_is_said() -> None:
    with pytest.raises(UsageError, match="Did you mean bf16"):
        open_compute(Hardware("cpu", precision="bf15"))
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        open_compute(Hardware("cpu", precision="fp16"))
    with pytest.raises(UsageError, match="accumulate is 0"):
        open_compute(Hardware("cpu", accumulate=0))
    with pytest.raises(UsageError, match="batch of 2 cannot be split"):
        open_compute(Hardware("cpu", accumulate=3)).shares(2)


@pytest.mark.parametrize(
    ("flags", "there"),
    [("flags\t: fpu avx2", False), ("flags\t: avx2 avx512_bf16", True), ("Features: bf16", True)],
)
def test_bfloat16_is_taken_where_the_processor_has_it(
    flags: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor: 0\n{flags}\n")
    assert has_bfloat16(tmp_path / "cpuinfo") is there
    monkeypatch.setattr("dlkit.training.engine.fabric.has_bfloat16", lambda: there)
    compute = open_compute(Hardware("cpu"), bfloat16=True)
    assert (compute.precision, len(compute.notes)) == (("bf16", 0) if there else ("fp32", 1))
    asked = open_compute(Hardware("cpu", precision="bf16"), bfloat16=True)
    assert (asked.precision, asked.notes) == ("bf16", ())


@pytest.mark.long
def test_the_test_digits_are_seen_once_at_the_end(few: str, tmp_path: Path) -> None:
    train(modern(), few, tmp_path / "run")
    entries = log(tmp_path / "run")
    assert [entry["event"] for entry in entries] == ["start", "epoch", "epoch", "epoch", "end"]
    assert not any("test_accuracy" in entry for entry in entries[:-1])
    assert {"test_accuracy", "test_ece", "temperature", "best_epoch"} <= entries[-1].keys()
    assert (tmp_path / "run" / "confusion.png").stat().st_size > 5000


def test_validation_digits_are_not_trained_on(few: str) -> None:
    batches = batches_of(modern("validation=0.25", "mixup=0", *_NO_WARPS), few)
    assert len(batches.validation_images) == 150
    seen = []
    for index in range(batches.count):
        batch = batches.batch(1, index)
        seen.append(batch(slice(0, len(batch)))[0])
    trained_on = {image.numpy().tobytes() for image in torch.cat(seen)}
    assert len(trained_on) == 450
    assert not any(one.numpy().tobytes() in trained_on for one in batches.validation_images)
    assert not len(batches_of(modern("validation=0"), few).validation_images)


_NO_WARPS = ("rotate=0", "scale=0", "shear=0", "shift=0", "elastic=0")


@pytest.mark.parametrize(
    ("changes", "once"),
    [
        ([], True),
        (["distortions=0.5"], False),
        (["mixup=0.2"], False),
        (["shift=1"], False),
        (["image_size=32"], False),
    ],
)
def test_digits_are_normalised_once_where_they_do_not_change(
    changes: list[str], once: bool, few: str
) -> None:
    recipe = modern("mixup=0", *_NO_WARPS, *changes)
    made, side = [], recipe.network.config.image_size or 28

    def normalise(pixels: torch.Tensor) -> torch.Tensor:
        made.append(len(pixels))
        return PixelClassifier(nn.Identity(), side).normalise(pixels)

    raw, batches = batches_of(recipe, few), batches_of(recipe, few)
    batches.normalise_by(normalise)
    assert sum(made) == (550 if once else 0)
    for index in range(batches.count):
        part = slice(3, batches.size(index))
        pixels, targets = raw.batch(1, index)(part)
        inputs, same = batches.batch(1, index)(part)
        assert torch.equal(inputs, PixelClassifier(nn.Identity(), side).normalise(pixels))
        assert torch.equal(same, targets)
    assert (sum(made) == 550) is once


def test_best_weights_are_kept_and_patience_ends_training(few: str, tmp_path: Path) -> None:
    """A learning rate of nothing: no epoch is better, and of equals the last one counts."""
    recipe = modern("epochs=5", "learning_rate=1e-12", "patience=2", "ema_decay=0",
                    "schedule=constant")  # fmt: skip
    train(replace(recipe, network=RECIPES.load("lenet").network), few, tmp_path / "run")
    end = log(tmp_path / "run")[-1]
    assert end.get("stopped_early")
    assert end["step"] == 3 * 9
    assert end["best_epoch"] == 3


def test_deformations_settle_at_the_end(few: str) -> None:
    """With shifts alone the ink of a digit moves by as much as it was told to."""
    recipe = modern(*_NO_WARPS, "shift=2", "mixup=0", "epochs=4")
    batches = batches_of(recipe, few)

    def furthest(epoch: int, index: int) -> float:
        chosen = batches._epoch_order(epoch)[index * 64 : (index + 1) * 64]
        images = batches.images[chosen].float()
        pixels, _ = batches.batch(epoch, index)(slice(0, len(chosen)))
        column = torch.arange(28.0)
        centres = [(one.sum(1) @ column) / one.sum((1, 2)) for one in (images, pixels)]
        return float((centres[1] - centres[0]).abs().max())

    assert furthest(0, 0) == pytest.approx(2.0, abs=0.25)
    assert furthest(1, batches.count - 2) == pytest.approx(2.0, abs=0.25)
    assert furthest(3, 0) == pytest.approx(2.0 * 0.625, abs=0.2)
    assert furthest(3, batches.count - 2) == pytest.approx(2.0 / 3, abs=0.15)


def test_outliers_are_trained_towards_equal_probabilities(few: str) -> None:
    batches = batches_of(modern("outliers=0.2", "mixup=0"), few)
    images, labels = batches.images, batches.labels
    assert len(images) == round(550 / 0.8)
    assert int((labels == -1).sum()) == len(images) - 550
    batch = batches.batch(0, 0)
    targets = batch(slice(0, len(batch)))[1]
    even = (targets == 0.1).all(1)
    assert 5 <= int(even.sum()) <= 25
    assert torch.equal(targets[~even].sum(1), torch.ones(int((~even).sum())))
    digits = load_labelled(few).train_images
    again = outliers(40, 3, digits)
    assert (again == outliers(40, 3, digits)).all()
    assert len({picture.tobytes() for picture in again}) > 35


def test_any_part_of_a_batch_is_that_part_of_the_whole(few: str) -> None:
    """What several processes rely on."""
    batches = batches_of(modern("distortions=0.5", "outliers=0.1"), few)
    batch = batches.batch(2, 1)
    pixels, targets = batch(slice(0, len(batch)))
    part_pixels, part_targets = batches.batch(2, 1)(slice(10, 25))
    assert torch.allclose(part_pixels, pixels[10:25], atol=1e-3)
    assert torch.equal(part_targets, targets[10:25])


@pytest.mark.long
def test_tensorboard_gets_the_curves(few: str, tmp_path: Path) -> None:
    def interrupt(now: Moment) -> None:
        if now.step == 13:
            os.kill(os.getpid(), signal.SIGINT)

    recipe = with_lenet(modern())
    train(recipe, few, tmp_path / "run", watch=interrupt)
    time.sleep(1.1)  # TensorBoard orders a process's files by the second, then .10 before .9
    train(recipe, few, tmp_path / "run", resume=True)
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"loss", "val_loss", "val_accuracy", "test_accuracy"} <= set(found.Tags()["scalars"])
    assert [event.step for event in found.Scalars("val_loss")] == [0, 9, 18]


@pytest.mark.long
def test_dry_run_tells_and_leaves_nothing(few: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dlkit", "train", "lenet", "--dry-run", "--data", few],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    for said in ("6 x 28 x 28", "61,706 parameters", "30 steps of", "MB of memory"):
        assert said in done.stdout, done.stdout
    assert not list(tmp_path.iterdir())


def test_rehearsal_counts_as_papers_do() -> None:
    found = rehearse(
        RECIPES.load("lenet").with_settings(["epochs=1"]), "mnist-mini", Hardware("cpu")
    )
    assert found.parameters == sum(layer.parameters for layer in found.layers) == 61_706
    assert found.mmacs == pytest.approx(0.4165, abs=0.001)  # LeNet-5's well-known 416,520
    assert found.seconds >= found.steps * found.seconds_a_step > 0


def test_recipes_are_listed() -> None:
    done = CliRunner().invoke(app, ["train", "--list"])
    assert done.exit_code == 0, done.output
    assert all(name in done.stdout for name in RECIPES.names())
