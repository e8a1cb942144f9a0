"""No setting is for show: each field of every recipe and network, changed, changes what happens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from dlkit.errors import UsageError
from dlkit.mmwave.folder import write_pairs
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.architecture import ARCHITECTURES, Network
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.trainer import Trainer
from dlkit.training.recipe import RECIPES, Recipe

from .long import long

pytestmark = pytest.mark.usefixtures("one_thread")

# Of a recipe in which every field matters: a text that --set takes, and another one.
CLASSIFY = {
    "data": ("digits", "others"),
    "seed": ("0", "1"),
    "bfloat16": ("false", "true"),
    "epochs": ("1", "2"),
    "batch_size": ("16", "20"),
    "init": ("default", "xavier"),
    "channels_last": ("false", "true"),
    "resize": ("stretch", "letterbox"),
    "optimizer.name": ("sgd", "adam"),
    "optimizer.learning_rate": ("0.1", "0.2"),
    "optimizer.momentum": ("0.9", "0"),
    "optimizer.weight_decay": ("0", "0.5"),
    "optimizer.clip_norm": ("0", "0.01"),
    "schedule.name": ("one_cycle", "constant"),
    "schedule.warmup": ("0.3", "0.7"),
    "augmentation.rotate": ("5", "20"),
    "augmentation.scale": ("0.1", "0.2"),
    "augmentation.shear": ("0.1", "0.2"),
    "augmentation.shift": ("1", "2"),
    "augmentation.elastic": ("0.5", "1"),
    "augmentation.settle": ("0.9", "0"),
    "augmentation.distortions": ("0.5", "0"),
    "augmentation.mixup": ("0.5", "0"),
    "outliers": ("0", "0.2"),
    "label_smoothing": ("0", "0.3"),
    "ema_decay": ("0.9", "0"),
    "selection.validation": ("0.2", "0.3"),
    "selection.keep_best": ("true", "false"),
    "selection.patience": ("0", "1"),
}
PAIRS = {
    "data": ("pairs", "other pairs"),
    "seed": ("0", "1"),
    "bfloat16": ("false", "true"),
    "range": ("", "0:200"),
    "pairs": ("2", "3"),
    "height": ("96", "112"),
    "width": ("64", "80"),
    "held_out": ("1", "2"),
    "batch_size": ("3", "2"),
    "learning_rate": ("0.01", "0.02"),
    "ema_decay": ("0.5", "0.9"),
}
PAIRED = {
    **PAIRS,
    "ema_decay": ("0.05", "0.1"),  # of few steps: it grows from short
    "steps": ("4", "5"),
    "epochs": ("2", "1"),
    "weight_decay": ("0", "0.5"),
    "mse_weight": ("2", "0"),
    "ssim_weight": ("0.1", "0"),
    "object_weight": ("3", "0"),
    "inside_weight": ("1", "0"),
    "inside_reach": ("2", "9"),
    "simulated_share": ("0.5", "0"),
    "crop_height": ("48", "32"),
    "crop_width": ("48", "32"),
}
ADVERSARIAL = {
    "iterations": ("2", "1"),
    "adversary": ("wasserstein", "cross_entropy"),
    "critic_steps": ("1", "2"),
    "beta1": ("0", "0.5"),
    "beta2": ("0.9", "0.5"),
    "critic_rate": ("1", "2"),
    "gradient_penalty": ("10", "0"),
    "weight_clip": ("0", "0.001"),
    "decay": ("0", "1"),
    "checkpoint_every": ("2", "1"),
}
WGAN = {
    **PAIRS,
    **ADVERSARIAL,
    "critic.width": ("0.03", "0.06"),
    "critic.normalize": ("true", "false"),
    "content_weight": ("10", "0"),
}
PATCHES = {
    **PAIRS,
    **ADVERSARIAL,
    "ema_decay": ("0.05", "0.1"),  # of few steps: it grows from short
    "critic.width": ("0.03", "0.06"),
    "critic.layers": ("2", "1"),
    "critic.normalize": ("true", "false"),
    "crop_height": ("64", "0"),
    "crop_width": ("32", "64"),
    "mirror": ("true", "false"),
}
PIX2PIX = {
    **PATCHES,
    "height": ("256", "128"),
    "width": ("256", "128"),
    "crop_height": ("128", "0"),
    "crop_width": ("128", "0"),
    "content_weight": ("10", "0"),
}
CYCLEGAN = {
    **PATCHES,
    "cycle_weight": ("10", "5"),
    "identity_weight": ("0.5", "0"),
    "pool": ("1", "0"),
    "unpaired": ("false", "true"),
}
GENERATE = {
    **ADVERSARIAL,
    "data": ("square", "other square"),
    "seed": ("0", "1"),
    "bfloat16": ("false", "true"),
    "learning_rate": ("0.01", "0.02"),
    "batch_size": ("4", "5"),
    "ema_decay": ("0.05", "0.1"),
    "critic.kind": ("convolutions", "maxout"),
    "critic.width": ("0.05", "0.1"),
    "critic.normalize": ("layer", "none"),
    "critic.dropout": ("0.5", "0"),
    "held_out": ("0.1", "0.2"),
}
FINDER = {
    "data": ("square", "other square"),
    "seed": ("0", "1"),
    "bfloat16": ("false", "true"),
    "steps": ("2", "3"),
    "epochs": ("2", "1"),
    "batch_size": ("2", "3"),
    "crop": ("64", "96"),
    "crops": ("1", "2"),
    "learning_rate": ("0.01", "0.02"),
    "weight_decay": ("0", "0.5"),
    "box_weight": ("1", "0"),
    "ema_decay": ("0.05", "0.1"),
    "held_out": ("2", "3"),
}
DETECT = {
    "seed": ("0", "1"),
    "bfloat16": ("false", "true"),
    "steps": ("2", "3"),
    "epochs": ("2", "1"),
    "batch_size": ("1", "2"),
    "learning_rate": ("0.3", "0.4"),  # enough to see objects everywhere
    "weight_decay": ("0", "0.5"),
    "box_weight": ("1", "0"),
    "mask_weight": ("1", "0"),
    "crop_width": ("128", "0"),
    "smaller_share": ("0", "1"),
    "ema_decay": ("0.05", "0.1"),
    "held_out": ("1", "2"),
}
ADAPT = {
    **{name: values for name, values in PAIRED.items() if name not in ("ema_decay", "epochs")},
    "pairs": ("4", "6"),
    "folds": ("2", "3"),
    "held_out": ("0", "1"),
}
TABLES = {
    "lenet_relu": (CLASSIFY, ["network.batch_norm=true", "network.image_size=28"]),
    "denoiser": (PAIRED, ["network.width=4", "network.deepest=8", "network.blocks=1"]),
    "denoiser adapted": (ADAPT, ["network.width=4", "network.deepest=8", "network.blocks=1"]),
    "wgan_small": (WGAN, ["network.width=0.03"]),
    "pix2pix_small": (PIX2PIX, ["network.width=0.03", "network.halvings=3"]),
    "cyclegan_small": (CYCLEGAN, ["network.width=0.03", "network.blocks=1"]),
    "cgan": (GENERATE, ["network.width=0.1"]),
    "finder": (FINDER, ["network.width=0.2"]),
    "detector": (DETECT, ["network.width=0.1"]),
}
# What a recipe takes in one form alone: another is an error.
ONE_FORM = {"detector": {"data"}}
# What matters only at the end of a training: see the tests of their own.
TRAINED = {
    "detector": {"thresholds"},
    "denoiser adapted": {"least_gain", "most_lost", "simulated_lost"},
}
# What some fields need to matter. Pairs and sizes are of simulated scans alone, but without a
# critic they are mixed in; layouts do not change in float32 on a CPU.
NEEDS = {
    (name, key): "data=simulated"
    for name in ("wgan_small", "pix2pix_small", "cyclegan_small")
    for key in ("pairs", "height", "width")
}
NEEDS |= {("pix2pix_small", key): "data=simulated" for key in ("crop_height", "crop_width")}
NEEDS["lenet_relu", "channels_last"] = "bfloat16=true"


@pytest.fixture(autouse=True)
def any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes bfloat16 where a recipe wishes it, if slowly."""
    monkeypatch.setattr("dlkit.training.engine.fabric.has_bfloat16", lambda: True)


@pytest.fixture(scope="module", autouse=True)
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Sets of digits, not square and square, and of pairs, two each, in the working directory."""
    folder = tmp_path_factory.mktemp("data")
    found = load_labelled("mnist-mini")
    narrow, whole = slice(4, 24), slice(None)
    for name, first, columns in (
        ("digits", 0, narrow), ("others", 100, narrow),
        ("square", 0, whole), ("other square", 100, whole),
    ):  # fmt: skip
        for index in range(first, first + 80):
            place = folder / name / str(found.train_labels[index])
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{index}.png"), found.train_images[index][:, columns])
    for name, first in (("pairs", 0), ("other pairs", 10)):
        write_pairs(folder / name, range(first, first + 4), (96, 64), masks=True, workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def base(name: str) -> Recipe:
    """The recipe of a table: one that ships, or what it becomes to be adapted to pairs."""
    recipe = RECIPES.load(name.partition(" ")[0])
    return recipe.fine_tuning("pairs") if name.endswith(" adapted") else recipe


def named(recipe: Recipe) -> dict[str, Any]:
    """Every field and nested field by its dotted name, but for the network's and the text."""
    found: dict[str, Any] = {}
    for one in fields(recipe):
        value = getattr(recipe, one.name)
        if one.name in ("network", "about"):
            continue
        if is_dataclass(value):
            found |= {
                f"{one.name}.{part.name}": getattr(value, part.name) for part in fields(value)
            }
        else:
            found[one.name] = value
    return found


def usually(name: str) -> Recipe:
    """The recipe of a table with the first value of each field."""
    table, more = TABLES[name]
    return base(name).with_settings(
        [*(f"{key}={usual}" for key, (usual, _) in table.items()), *more]
    )


def what_happens(recipe: Recipe) -> dict[str, object]:
    """All that can be seen of a short training."""
    recipe.check()
    torch.manual_seed(recipe.seed)
    trainer = recipe.trainer(recipe.data, open_compute(Hardware("cpu"), recipe.bfloat16))
    losses = [
        {name: float(loss) for name, loss in trainer.step(0, index).items()}
        for index in range(trainer.steps_per_epoch)
    ]
    return {
        "losses": losses,
        "weights": digest(trainer),
        "layout": [weight.stride() for weight in trainer.network.parameters()],
        "length": (trainer.epochs, trainer.steps_per_epoch),
        "choice": (trainer.monitor, trainer.patience),
        "metrics": dict(trainer.evaluate()),
        "meaning": trainer.meaning(),
        "data": (trainer.fingerprint, trainer.dataset),
    }


def digest(trainer: Trainer) -> str:
    state = trainer.network.state_dict()
    return hashlib.sha256(b"".join(one.numpy().tobytes() for one in state.values())).hexdigest()


@pytest.mark.parametrize("name", TABLES)
def test_every_field_is_in_the_table(name: str) -> None:
    recipe = base(name)
    one_form, trained = ONE_FORM.get(name, set()), TRAINED.get(name, set())
    assert set(TABLES[name][0]) | one_form | trained == set(named(recipe))
    for key in one_form:
        with pytest.raises(UsageError):
            what_happens(recipe.with_settings([f"{key}=other"]))


def test_every_kind_of_recipe_has_a_table() -> None:
    recipes = [RECIPES.load(name) for name in RECIPES.names()]
    kinds = {type(one) for recipe in recipes for one in (recipe, recipe.fine_tuning("pairs"))}
    assert kinds == {type(base(name)) for name in TABLES}


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[] if one == "lenet_relu" else pytest.mark.long) for one in TABLES],
)
def test_every_field_changes_what_happens(name: str) -> None:
    table, _ = TABLES[name]
    recipe = usually(name)
    usual = what_happens(recipe)
    assert what_happens(recipe) == usual  # else everything would seem to change something
    without_effect = []
    for key, (_, other) in table.items():
        start = recipe.with_settings([NEEDS[name, key]] if (name, key) in NEEDS else [])
        before = usual if start == recipe else what_happens(start)
        if what_happens(start.with_settings([f"{key}={other}"])) == before:
            without_effect.append(key)
    assert without_effect == []


@pytest.mark.parametrize(
    "name",
    [long(one) if one == "finder" else one for one in TABLES],
)
def test_a_loss_that_has_a_scale_may_not_run_away(name: str) -> None:
    recipe = usually(name)
    trainer = recipe.trainer(recipe.data, open_compute(Hardware("cpu"), recipe.bfloat16))
    assert set(trainer.bounded) <= trainer.step(0, 0).keys()
    assert trainer.bounded or TABLES[name][0] is GENERATE  # scores of critics have none


def test_thresholds_are_taken_from_as_many_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(found: list[object], truth: list[object]) -> dict[str, object]:
        seen.append((len(found), len(truth)))
        return {}

    monkeypatch.setattr("dlkit.training.detect.trainer.sensitivities", look)
    for count in (1, 3):
        base = RECIPES.load("detector").with_settings(
            ["network.width=0.1", "held_out=1", f"thresholds={count}"]
        )
        base.trainer(base.data, open_compute(Hardware("cpu"), False)).finish(Path())
    assert seen == [(1, 1), (3, 3)]


# What the fields of configs are changed to, where one more, or half as much, would not do.
OTHERWISE: dict[str, Any] = {
    "activation": "gelu", "pooling": "max", "stem": "small", "depth": 13, "blocks": 3,
    "image_size": 100, "channels": 3, "kernel": 5, "pooled": 2, "dropout": 0.3, "halvings": 5,
}  # fmt: skip


def outline(network: Network) -> str:
    """Layers, and the shapes of all weights."""
    with torch.device("meta"):
        module = network.build()
    shapes = {name: tuple(weight.shape) for name, weight in module.state_dict().items()}
    return f"{module}\n{shapes}"


@pytest.mark.parametrize("name", ARCHITECTURES.names())
def test_every_setting_of_a_network_changes_it(name: str) -> None:
    known = {"channels": 1, "classes": 10, "image_size": 96}
    architecture = ARCHITECTURES.load(name)
    there = {one.name for one in fields(architecture.config)}
    base = architecture().filled(**{key: known[key] for key in there & known.keys()})
    any_size = ("googlenet", "resnet")  # their last pooling takes what comes
    for key in there:
        value = getattr(base.config, key)
        other = OTHERWISE.get(key)
        if other is None:
            more = value + 1 if isinstance(value, int) else value / 2
            other = not value if isinstance(value, bool) else more
        changes = outline(base.replace(**{key: other})) != outline(base)
        assert changes is not (key == "image_size" and name in any_size), key
