"""Training the denoiser: its loss, fine-tuning from shipped weights, the adversarial variants."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from dlkit import images
from dlkit.errors import BundleError, TrainingError, UsageError
from dlkit.export.api import export
from dlkit.export.weights import load_weights
from dlkit.mmwave.folder import write_pairs
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.gan.recipe import WganRecipe
from dlkit.training.gan.trainer import WganTrainer
from dlkit.training.recipe import RECIPES
from dlkit.training.restore.recipe import PairedRecipe
from dlkit.training.restore.ssim import similarity
from dlkit.training.restore.trainer import PairedTrainer

CPU = open_compute(Hardware("cpu"))


def tiny(**changes: object) -> PairedRecipe:
    recipe = RECIPES.load("denoiser")
    assert isinstance(recipe, PairedRecipe)
    return replace(recipe, steps=4, epochs=2, pairs=4, held_out=1, batch_size=2, crop_width=64,
                   height=96, width=64, **changes)  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs of 120 x 80 with masks, as somebody's own."""
    path = tmp_path_factory.mktemp("pairs")
    write_pairs(path, range(3), (120, 80), masks=True, workers=1)
    return path


def test_similarity_loss_is_the_metric() -> None:
    rng = np.random.default_rng(0)
    one = rng.random((2, 40, 33)).astype(np.float32)
    other = np.clip(one + rng.normal(0, 0.2, one.shape), 0, 1).astype(np.float32)
    wanted = np.mean(
        [structural_similarity(a, b, data_range=1.0) for a, b in zip(one, other, strict=True)]
    )
    got = similarity(torch.from_numpy(one)[:, None], torch.from_numpy(other)[:, None])
    assert float(got) == pytest.approx(float(wanted), abs=1e-4)


def test_the_last_rows_of_a_scan_are_trained_on() -> None:
    # 100 is no multiple of 16: the trainer pads as the runtime does, and cuts nothing off
    trainer = PairedTrainer(replace(tiny(), height=100, crop_width=0), "simulated", CPU)
    noisy, clean, weight = trainer._batch()
    assert noisy.shape == clean.shape == weight.shape == (2, 1, 100, 64)
    padded = (trainer._padded(noisy)[0, 0] * 255).round().byte().numpy()
    assert (padded == images.pad((noisy[0, 0] * 255).round().byte().numpy(), 16)).all()


@pytest.mark.parametrize(("reach", "inside"), [(12, 16), (6, 28)])
def test_objects_weigh_more_with_their_border_and_so_does_the_inside_of_a_person(
    reach: int, inside: int
) -> None:
    recipe = tiny(object_weight=3.0, inside_weight=1.0, inside_reach=reach)
    trainer = PairedTrainer(recipe, "simulated", CPU)
    for clean, objects in zip(trainer.pairs.clean, trainer.pairs.objects or [], strict=True):
        objects[:], clean[:] = 0, 0
        objects[40:50, 30:40] = 1
        clean[54:94, 10:50] = 255
    weight = trainer._batch()[2]
    assert weight.unique().tolist() == [1.0, 2.0, 4.0]
    assert int((weight[0] == 4).sum()) == 18 * 18  # the object and 4 pixels around it
    assert int((weight[0] == 2).sum()) == inside**2  # `reach` inside the border of the bright


def test_fine_tuning_begins_with_the_shipped_weights(folder: Path, tmp_path: Path) -> None:
    tuned = replace(tiny().fine_tuning(), steps=4, epochs=2, pairs=4, batch_size=2, crop_width=64,
                    height=96, width=64, learning_rate=1e-9)  # fmt: skip
    assert tuned.simulated_share > 0
    weights = load_weights("default", "denoise")
    assert train(tuned, folder, tmp_path / "run", weights=weights).finished
    after = Run(tmp_path / "run").load_checkpoint()["network"]
    assert all(torch.allclose(weights[name], after[name], atol=1e-6) for name in weights)
    assert any(not torch.equal(weights[name], after[name]) for name in weights)


@pytest.mark.long
def test_fine_tuning_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    tuned = replace(tiny().fine_tuning(), steps=4, epochs=2, pairs=4, batch_size=2, crop_width=64,
                    height=96, width=64)  # fmt: skip
    weights = load_weights("mmwave", "denoise")

    def interrupt(now: Moment) -> None:
        if now.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    assert train(tuned, folder, tmp_path / "whole", weights=weights).finished
    cut = tmp_path / "cut"
    assert not train(tuned, folder, cut, weights=weights, watch=interrupt).finished
    assert train(tuned, folder, cut, resume=True).finished
    one, other = (Run(path).load_checkpoint()["network"] for path in (tmp_path / "whole", cut))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.long
def test_weights_to_begin_with_must_fit(folder: Path, tmp_path: Path) -> None:
    recipe = tiny()
    assert train(recipe, out=tmp_path / "run").finished
    half = export(tmp_path / "run", "fp16")
    with pytest.raises(UsageError, match="fp16, expected fp32"):
        load_weights(str(half.path), "denoise")
    with pytest.raises(BundleError, match="to recognize"):
        load_weights("digits", "denoise")
    with pytest.raises(UsageError, match="expected one to recognize"):
        load_weights(str(tmp_path / "run"), "recognize")
    from_run = load_weights(str(tmp_path / "run"), "denoise")
    from_bundle = load_weights(str(export(tmp_path / "run", "fp32").path), "denoise")
    assert from_run.keys() == from_bundle.keys()
    assert all(torch.equal(from_run[name], from_bundle[name]) for name in from_run)
    narrow = replace(recipe, network=recipe.network.replace(width=8))
    with pytest.raises(TrainingError, match="do not fit denoiser"):
        train(narrow, out=tmp_path / "narrow", weights=from_run)


def wgan(**changes: object) -> WganTrainer:
    recipe = RECIPES.load("wgan_small")
    assert isinstance(recipe, WganRecipe)
    recipe = replace(recipe, pairs=4, held_out=1, batch_size=2, height=96, width=64, **changes)  # type: ignore[arg-type]
    return WganTrainer(recipe, "simulated", CPU)


def test_original_gan_has_the_losses_of_its_paper() -> None:
    trainer = wgan(adversary="cross_entropy", content_weight=0.0)
    noisy, clean = trainer._batch()
    with torch.no_grad():
        real = torch.sigmoid(trainer.critic(clean))
        fake = torch.sigmoid(trainer.critic(trainer.trained(noisy)))
        wanted = -(torch.log(real).mean() + torch.log(1 - fake).mean())
    got = trainer.critic_step(noisy, clean)["critic_loss"]
    assert float(got) == pytest.approx(float(wanted), rel=1e-4)
    with torch.no_grad():
        wanted = -torch.log(torch.sigmoid(trainer.critic(trainer.trained(noisy)))).mean()
    got = trainer.generator_step(noisy, clean)["generator_loss"]
    assert float(got) == pytest.approx(float(wanted), rel=1e-4)


def test_wasserstein_critic_has_the_penalty_in_its_loss() -> None:
    trainer = wgan(gradient_penalty=10.0)
    noisy, clean = trainer._batch()
    found = trainer.critic_step(noisy, clean)
    assert float(found["critic_loss"]) > -float(found["wasserstein"]) + 1e-3
    found = (trainer := wgan(gradient_penalty=0.0)).critic_step(*trainer._batch())
    assert float(found["critic_loss"]) == pytest.approx(-float(found["wasserstein"]), abs=1e-6)


def test_clipping_holds_the_critic_and_the_average_follows_the_generator() -> None:
    trainer = wgan(gradient_penalty=0.0, weight_clip=0.01, ema_decay=0.5)
    before = [weight.clone() for weight in trainer.network.parameters()]
    trainer.step(0, 0)
    assert max(float(weight.detach().abs().max()) for weight in trainer.critic.parameters()) <= 0.01
    trained = list(trainer.trained.parameters())
    assert any(not torch.equal(one, now) for one, now in zip(before, trained, strict=True))
    for one, now, average in zip(before, trained, trainer.network.parameters(), strict=True):
        assert torch.allclose(average, (one + now) / 2, atol=1e-6)


def test_unknown_adversary_is_said() -> None:
    with pytest.raises(UsageError, match="Did you mean wasserstein"):
        train("wgan_small", adversary="waserstein")


def test_masks_of_a_folder_reach_the_training(folder: Path) -> None:
    recipe = replace(tiny(), height=120, width=80, held_out=1)
    trainer = PairedTrainer(recipe, str(folder), CPU)
    assert trainer.pairs.objects is not None
    assert json.loads((folder / "boxes.json").read_text())["annotations"]
    assert len(trainer.pairs.noisy) == len(trainer.pairs.objects) == 2
