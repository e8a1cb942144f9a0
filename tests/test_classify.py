"""Training classifiers: data, deformations, resume, several processes, honest probabilities."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional as F

from dlkit.errors import UsageError
from dlkit.idx import write_idx
from dlkit.training.architectures import simple_cnn, vgg
from dlkit.training.average import Average
from dlkit.training.compute import Hardware, open_compute
from dlkit.training.data.augment import NORMALS, UNIFORMS, Warp
from dlkit.training.data.batches import Batches
from dlkit.training.data.digits import load_digits
from dlkit.training.data.distort import UNIFORMS as DISTORT_UNIFORMS
from dlkit.training.data.distort import Distort
from dlkit.training.data.outliers import outliers
from dlkit.training.loop import Progress
from dlkit.training.pixels import PixelClassifier
from dlkit.training.recipe import RECIPES, load_recipe
from dlkit.training.rehearsal import rehearse
from dlkit.training.run import Run
from dlkit.training.start import train
from dlkit.training.temperature import fit_temperature
from dlkit.training.trainers.classify import ClassifyRecipe, ClassifyTrainer

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are so small that threads wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of 600 digits to train on and 100 to test on."""
    folder = tmp_path_factory.mktemp("few")
    digits = load_digits("mnist-mini")
    write_idx(folder / "train-images-idx3-ubyte", digits.train_images[:600].numpy())
    write_idx(folder / "train-labels-idx1-ubyte", digits.train_labels[:600].byte().numpy())
    write_idx(folder / "t10k-images-idx3-ubyte", digits.test_images[::10].numpy())
    write_idx(folder / "t10k-labels-idx1-ubyte", digits.test_labels[::10].byte().numpy())
    return str(folder)


def modern(**changes: object) -> ClassifyRecipe:
    """Everything that has a state or draws numbers, at once."""
    recipe = load_recipe("resnet_small")
    assert isinstance(recipe, ClassifyRecipe)
    recipe = replace(
        recipe, network=replace(recipe.network, width=0.0625), epochs=2, batch_size=64,
        optimizer="adam", schedule="one_cycle", learning_rate=0.01, rotate=10.0, scale=0.1,
        shear=0.1, shift=2.0, elastic=1.0, label_smoothing=0.05, mixup=0.2, ema_decay=0.9,
        clip_norm=1.0, bfloat16=True, channels_last=True, settle=0.5, keep_best=True,
    )  # fmt: skip
    return replace(recipe, **changes)  # type: ignore[arg-type]


def log(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key != "seconds"} for line in lines]


@pytest.mark.parametrize("step", [3, 12])
def test_resumed_in_the_middle_of_an_epoch_ends_with_the_same_weights(
    step: int, few: str, tmp_path: Path
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    assert train(modern(), tmp_path / "whole", data=few)
    assert not train(modern(), tmp_path / "cut", data=few, watch=interrupt)
    assert train(modern(), tmp_path / "cut", data=few, resume=True)
    one, other = (Run(tmp_path / name).load_checkpoint() for name in ("whole", "cut"))
    assert all(torch.equal(one["network"][key], other["network"][key]) for key in one["network"])
    assert one["temperature"] == other["temperature"] != 1.0
    assert log(tmp_path / "whole") == log(tmp_path / "cut")


def test_seed_decides_everything(few: str, tmp_path: Path) -> None:
    found = []
    for number, seed in enumerate((1, 1, 2)):
        torch.rand(number)  # what ran before does not matter
        train(modern(seed=seed, epochs=1), tmp_path / str(number), data=few)
        found.append(Run(tmp_path / str(number)).load_checkpoint()["network"])
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    assert any(not torch.equal(found[0][key], found[2][key]) for key in found[0])


def test_two_processes_give_the_curve_of_one(few: str, tmp_path: Path) -> None:
    """By --devices and by torchrun; batches of 63 and a last one that is smaller do not halve."""
    settings = ["epochs=2", "batch_size=63", "elastic=1", "rotate=10", "mixup=0.2"]
    assert train(load_recipe("lenet_relu").with_settings(settings), tmp_path / "one", data=few)
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
    recipe = modern(network=load_recipe("lenet_relu").network, bfloat16=False, ema_decay=0.0)
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
    with pytest.raises(UsageError, match="did you mean bf16"):
        open_compute(Hardware("cpu", precision="bf15"))
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        open_compute(Hardware("cpu", precision="fp16"))
    with pytest.raises(UsageError, match="accumulate is 0"):
        open_compute(Hardware("cpu", accumulate=0))
    with pytest.raises(UsageError, match="batch of 2 cannot be split"):
        open_compute(Hardware("cpu", accumulate=3)).shares(2)


def test_the_test_digits_are_seen_once_at_the_end(few: str, tmp_path: Path) -> None:
    train(modern(), tmp_path / "run", data=few)
    entries = log(tmp_path / "run")
    assert [entry["event"] for entry in entries] == ["start", "epoch", "epoch", "epoch", "end"]
    assert not any("test_accuracy" in entry for entry in entries[:-1])
    assert {"test_accuracy", "test_ece", "temperature", "best_epoch"} <= entries[-1].keys()
    assert (tmp_path / "run" / "confusion.png").stat().st_size > 5000


def test_validation_digits_are_not_trained_on(few: str) -> None:
    digits = load_digits(few)
    batches = Batches(modern(validation=0.25, mixup=0.0, **dict.fromkeys(_WARPS, 0.0)), digits)  # type: ignore[arg-type]
    assert len(batches.validation_images) == 150
    seen = []
    for index in range(batches.count):
        batch = batches.batch(1, index)
        seen.append(batch(slice(0, len(batch)))[0])
    trained_on = {image.numpy().tobytes() for image in torch.cat(seen)}
    assert len(trained_on) == 450
    assert not any(one.numpy().tobytes() in trained_on for one in batches.validation_images)
    assert not len(Batches(modern(validation=0.0), digits).validation_images)


_WARPS = ("rotate", "scale", "shear", "shift", "elastic")


@pytest.mark.parametrize(
    ("changes", "once"),
    [({}, True), ({"distortions": 0.5}, False), ({"mixup": 0.2}, False), ({"shift": 1.0}, False)],
)
def test_digits_are_normalised_once_where_they_do_not_change(
    changes: dict[str, float], once: bool, few: str
) -> None:
    recipe = modern(**{"mixup": 0.0, **dict.fromkeys(_WARPS, 0.0), **changes})
    digits, made = load_digits(few), []

    def normalise(pixels: torch.Tensor) -> torch.Tensor:
        made.append(len(pixels))
        return PixelClassifier(nn.Identity(), 28).normalise(pixels)

    raw, batches = Batches(recipe, digits), Batches(recipe, digits)
    batches.normalise_by(normalise)
    assert sum(made) == (550 if once else 0)
    for index in range(batches.count):
        part = slice(3, batches.size(index))
        pixels, targets = raw.batch(1, index)(part)
        inputs, same = batches.batch(1, index)(part)
        assert torch.equal(inputs, PixelClassifier(nn.Identity(), 28).normalise(pixels))
        assert torch.equal(same, targets)
    assert (sum(made) == 550) is once


def test_best_weights_are_kept_and_patience_ends_training(few: str, tmp_path: Path) -> None:
    """A learning rate of nothing: no epoch is better, and of equals the last one counts."""
    recipe = modern(epochs=5, learning_rate=1e-12, patience=2, ema_decay=0.0, schedule="constant",
                    network=load_recipe("lenet").network)  # fmt: skip

    train(recipe, tmp_path / "run", data=few)
    end = log(tmp_path / "run")[-1]
    assert end.get("stopped_early")
    assert end["step"] == 3 * 9
    assert end["best_epoch"] == 3


def test_warp_moves_a_digit_as_told() -> None:
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[0, 10:18, 12:16] = 255
    middle, normal = torch.full((1, UNIFORMS), 0.5), torch.zeros(1, NORMALS)
    assert torch.allclose(Warp(10, 0.1, 0.1, 3, 1)(image, middle, normal), image.float(), atol=0.1)
    end = middle.clone()
    end[0, 4] = 1.0  # the x shift, all of it: what is seen is taken from 3 pixels to the right
    assert torch.allclose(Warp(shift=3)(image, end, normal), image.roll(-3, 2).float(), atol=0.1)
    end = middle.clone()
    end[0, 0] = 1.0
    turned = Warp(rotate=90)(image, end, normal)
    assert torch.allclose(turned[0], image[0].float().rot90(), atol=1.0) or torch.allclose(
        turned[0], image[0].float().rot90(-1), atol=1.0
    )


def test_deformations_settle_at_the_end(few: str) -> None:
    """With shifts alone the ink of a digit moves by as much as it was told to."""
    recipe = modern(rotate=0.0, scale=0.0, shear=0.0, elastic=0.0, mixup=0.0, epochs=4)
    batches = Batches(recipe, load_digits(few))
    assert recipe.shift == 2.0

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


def test_elastic_field_is_smooth_and_as_strong_as_told() -> None:
    """A ramp shows the displacement: its values are its columns."""
    ramp = torch.arange(28.0).expand(400, 28, 28) * 9
    normal = torch.randn(400, NORMALS, generator=torch.Generator().manual_seed(0))
    moved = (Warp(elastic=1.5)(ramp, torch.full((400, UNIFORMS), 0.5), normal) - ramp) / 9
    inside = moved[:, 8:20, 8:20]
    assert float(inside.square().mean().sqrt()) == pytest.approx(1.5, rel=0.15)
    assert float(inside.diff(dim=1).square().mean().sqrt()) < 0.5


def test_average_follows_weights_statistics_and_counters() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    average = Average(network, decay=0.5)
    with torch.no_grad():
        network[0].weight += 1  # type: ignore[operator]
    network[1].running_mean += 2  # type: ignore[operator]
    network[1].num_batches_tracked += 3  # type: ignore[operator]
    before = average.network.state_dict()["0.weight"].clone()
    average.updates = 100
    average.follow(network)
    found = average.network.state_dict()
    assert torch.allclose(found["0.weight"], before + 0.5)
    assert float(found["1.running_mean"]) == 1.0
    assert int(found["1.num_batches_tracked"]) == 3


def test_temperature_undoes_what_made_logits_too_sure() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 10, generator=generator)
    labels = torch.multinomial(F.softmax(logits, 1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.05)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3.0, rel=0.05)
    assert fit_temperature(logits[:0], labels[:0]) == 1.0


def test_a_dark_digit_on_white_is_as_good_as_mnist() -> None:
    network = load_recipe("lenet_relu").network
    from dlkit.training.architectures.lenet import build

    model = PixelClassifier(build(network), 28, temperature=2.0).eval()
    digits = load_digits("mnist-mini").test_images[:50]
    with torch.inference_mode():
        one, other = model(digits), model(255 - digits)
        grey = model((digits.float() * 0.4 + 140).round().byte())
        raw = F.softmax(model.logits(digits) / 2, 1)
    assert torch.allclose(one, other, atol=1e-5)
    assert torch.allclose(one, grey, atol=0.01)
    assert torch.allclose(one, raw)
    assert np.allclose(one.sum(1), 1, atol=1e-5)


def test_outliers_are_trained_towards_equal_probabilities(few: str) -> None:
    recipe = modern(outliers=0.2, mixup=0.0)
    batches = Batches(recipe, load_digits(few))
    images, labels = batches.images, batches.labels
    assert len(images) == round(550 / 0.8)
    assert int((labels == -1).sum()) == len(images) - 550
    batch = batches.batch(0, 0)
    targets = batch(slice(0, len(batch)))[1]
    even = (targets == 0.1).all(1)
    assert 5 <= int(even.sum()) <= 25
    assert torch.equal(targets[~even].sum(1), torch.ones(int((~even).sum())))
    again = outliers(40, 3, load_digits(few).train_images.numpy())
    assert (again == outliers(40, 3, load_digits(few).train_images.numpy())).all()
    assert len({picture.tobytes() for picture in again}) > 35


def test_distortions_change_their_share_and_leave_the_rest() -> None:
    images = load_digits("mnist-mini").train_images[:1000].float()
    uniform = torch.rand(1000, DISTORT_UNIFORMS, generator=torch.Generator().manual_seed(0))
    distorted = Distort(0.5, images.device)(images, uniform)
    assert float(distorted.min()) >= 0
    assert float(distorted.max()) <= 255
    same = (distorted == images).flatten(1).all(1)
    assert torch.equal(same | (uniform[:, 0] < 0.5), torch.ones(1000, dtype=torch.bool))
    assert 480 < int((~same).sum()) < 540


def test_any_part_of_a_batch_is_that_part_of_the_whole(few: str) -> None:
    """What several processes rely on."""
    batches = Batches(modern(distortions=0.5, outliers=0.1), load_digits(few))
    batch = batches.batch(2, 1)
    pixels, targets = batch(slice(0, len(batch)))
    part_pixels, part_targets = batches.batch(2, 1)(slice(10, 25))
    assert torch.allclose(part_pixels, pixels[10:25], atol=1e-3)
    assert torch.equal(part_targets, targets[10:25])


def test_tensorboard_gets_the_curves(few: str, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == 13:
            os.kill(os.getpid(), signal.SIGINT)

    recipe = modern(network=load_recipe("lenet_relu").network)
    train(recipe, tmp_path / "run", data=few, watch=interrupt)
    train(recipe, tmp_path / "run", data=few, resume=True)
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"loss", "val_loss", "val_accuracy", "test_accuracy"} <= set(found.Tags()["scalars"])
    assert [event.step for event in found.Scalars("val_loss")] == [0, 9, 18]


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
    found = rehearse(replace(load_recipe("lenet"), epochs=1), "mnist-mini", Hardware("cpu"))  # type: ignore[call-arg]
    assert found.parameters == sum(layer.parameters for layer in found.layers) == 61_706
    assert found.mmacs == pytest.approx(0.4165, abs=0.001)  # LeNet-5's well-known 416,520
    assert found.seconds >= found.steps * found.seconds_a_step > 0


@pytest.mark.parametrize("depth", [11, 13])
def test_vgg_is_the_papers_but_for_the_colours(depth: int) -> None:
    with torch.device("meta"):
        ours = vgg.build(vgg.Config(depth=depth))
        theirs = getattr(torchvision.models, f"vgg{depth}")(num_classes=10)
    colours = 2 * 64 * 3 * 3  # weights of the first layer for two more colours
    assert count(ours) == count(theirs) - colours
    fewer = vgg.build(vgg.Config(depth=depth, blocks=3, width=0.1, image_size=28))
    assert fewer.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    for wrong in ({"depth": 12}, {"blocks": 0}, {"blocks": 6}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            vgg.build(vgg.Config(**wrong))


def test_simple_cnn_is_the_papers_m3_and_may_pool_once() -> None:
    def shapes(config: simple_cnn.Config) -> tuple[list[int], int]:
        network = simple_cnn.build(config)
        assert network.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
        layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
        return [len(layer.weight) for layer in layers[:-1]], layers[-1].weight.shape[1]

    assert shapes(simple_cnn.Config()) == (list(range(32, 177, 16)), 176 * 8 * 8)
    pooled = simple_cnn.Config(convolutions=4, pooled=2, width=0.5)
    assert shapes(pooled) == ([16, 24, 48, 64], 64 * 8 * 8)
    for wrong, said in (
        ({"kernel": 0}, "kernel is 0"),
        ({"growth": -1}, "growth is -1"),
        ({"convolutions": 14}, "image_size is too small"),
    ):
        with pytest.raises(UsageError, match=said):
            simple_cnn.build(simple_cnn.Config(**wrong))


def count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_recipes_are_listed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dlkit", "train", "--list"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in RECIPES.names())
