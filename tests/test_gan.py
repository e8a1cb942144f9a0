"""One trainer for every GAN: losses, who is updated when, parts, processes, pools, exact resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from dlkit import images
from dlkit.cli import app
from dlkit.errors import InputError, UsageError
from dlkit.mmwave import simulate
from dlkit.mmwave.folder import write_pairs
from dlkit.tasks.denoise.unpaired import load_unpaired
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.engine.loop import Moment
from dlkit.training.engine.run import Run
from dlkit.training.engine.start import train
from dlkit.training.gan import adversarial, losses
from dlkit.training.gan.cyclegan import CycleganTrainer
from dlkit.training.gan.losses import critic_loss, generator_loss
from dlkit.training.gan.pix2pix import Pix2pixTrainer
from dlkit.training.gan.pool import ImagePool
from dlkit.training.gan.scans import crops
from dlkit.training.recipe import RECIPES, Recipe

from .long import long

pytestmark = pytest.mark.usefixtures("one_thread")

SCANS = ["pairs=3", "held_out=1", "height=128", "width=128", "iterations=4", "checkpoint_every=2",
         "batch_size=2", "bfloat16=false"]  # fmt: skip
DIGITS = ["iterations=4", "checkpoint_every=2", "batch_size=4"]
TINY = {
    "gan": [*DIGITS, "network.width=0.02", "critic.width=0.05"],
    "dcgan": [*DIGITS, "network.width=0.05", "critic.width=0.05"],
    "cgan": [*DIGITS, "network.width=0.1", "critic.width=0.1"],
    "wgan_small": [*SCANS, "network.width=0.03", "critic.width=0.03"],
    "pix2pix_small": [*SCANS, "network.width=0.05", "critic.width=0.05", "crop_width=0"],
    "cyclegan_small": [*SCANS, "network.width=0.05", "network.blocks=1", "critic.width=0.05",
                       "pool=2", "crop_height=64", "crop_width=64"],
}  # fmt: skip


def tiny(name: str, **changes: Any) -> Recipe:
    return replace(RECIPES.load(name).with_settings(TINY[name]), **changes)


def trainer(name: str, hardware: Hardware = Hardware("cpu"), **changes: Any) -> Any:  # noqa: B008
    recipe = tiny(name, **changes)
    recipe.check()
    torch.manual_seed(recipe.seed)
    return recipe.trainer(recipe.data, open_compute(hardware))


def weights(network: nn.Module) -> list[torch.Tensor]:
    return [one.detach().clone() for one in network.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- losses ---


def test_losses_are_those_of_their_papers() -> None:
    real, fake = torch.randn(6, 1), torch.randn(6, 1)
    one, other = torch.sigmoid(real), torch.sigmoid(fake)
    wanted = {
        "cross_entropy": (-(one.log() + (1 - other).log()).mean(), -other.log().mean()),
        "least_squares": ((real - 1).square().mean() / 2 + fake.square().mean() / 2,
                          (fake - 1).square().mean()),
        "wasserstein": (fake.mean() - real.mean(), -fake.mean()),
    }  # fmt: skip
    assert set(wanted) == set(losses.ADVERSARIES)
    for name, (critic, generator) in wanted.items():
        assert torch.allclose(critic_loss(name, real, fake), critic, atol=1e-5), name
        assert torch.allclose(generator_loss(name, fake), generator, atol=1e-5), name


@pytest.mark.parametrize("name", TINY)
def test_a_step_of_one_side_leaves_the_other_alone(name: str) -> None:
    found = trainer(name)
    made, judged = weights(found.trained), weights(found.critic)
    found.critic_step(*found._batch())
    assert all(one.grad is None for one in found.trained.parameters())  # its graph is not built
    parameters = [one.detach().clone() for one in found.trained.parameters()]
    assert not same(judged, weights(found.critic))
    critic = [one.detach().clone() for one in found.critic.parameters()]
    grads = [None if one.grad is None else one.grad.clone() for one in found.critic.parameters()]
    found.generator_step(*found._batch())
    after = [one.detach() for one in found.critic.parameters()]
    assert same(critic, after)
    for one, before in zip(found.critic.parameters(), grads, strict=True):
        assert one.requires_grad
        assert one.grad is None or (before is not None and torch.equal(one.grad, before))
    assert not same(parameters, [one.detach() for one in found.trained.parameters()])
    assert not same(made, weights(found.trained))


@pytest.mark.parametrize("adversary", losses.ADVERSARIES)
def test_every_loss_trains_every_generator_of_digits(adversary: str) -> None:
    for name in ("gan", "dcgan", "cgan"):
        critic = replace(tiny(name).critic, normalize="layer")  # type: ignore[attr-defined]
        found = trainer(name, adversary=adversary, critic=critic)
        steps = [found.step(0, index) for index in range(2)]
        assert all(np.isfinite(float(value)) for one in steps for value in one.values())


def test_the_penalty_is_in_the_loss_of_wasserstein_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversarial, "gradient_penalty", lambda *_: torch.tensor(7.0))
    critic = replace(tiny("cgan").critic, normalize="layer")  # type: ignore[attr-defined]
    for adversary, more in (("wasserstein", 70.0), ("least_squares", 0.0)):
        got = []
        for weight in (10.0, 0.0):
            found = trainer("cgan", adversary=adversary, critic=critic, gradient_penalty=weight)
            batch = found._batch()
            got.append(float(found.critic_step(*batch)["critic_loss"]))
        assert got[0] - got[1] == pytest.approx(more, abs=1e-3)


def test_a_critic_with_batch_normalisation_cannot_take_the_penalty() -> None:
    with pytest.raises(UsageError, match="that sample alone"):
        train("dcgan", adversary="wasserstein")


def test_the_penalty_mixes_each_sample_with_its_own_coefficient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.Tensor] = []
    real_one = losses.gradient_penalty

    def spy(score: Any, real: Any, fake: Any, mix: Any) -> torch.Tensor:
        seen.append(mix)
        return real_one(score, real, fake, mix)

    monkeypatch.setattr(adversarial, "gradient_penalty", spy)
    critic = replace(tiny("cgan").critic, normalize="layer")  # type: ignore[attr-defined]
    found = trainer("cgan", adversary="wasserstein", critic=critic)
    found.critic_step(*found._batch())
    assert seen[0].shape == (4, 1, 1, 1)
    assert len(seen[0].unique()) == 4


def test_the_learning_rate_falls_at_the_end_and_the_critic_has_its_own() -> None:
    found = trainer("cgan", iterations=4, decay=0.5, learning_rate=0.1, critic_rate=2.0)
    rates = []
    for index in range(4):
        found.step(index // 2, index % 2)
        rates.append([one.param_groups[0]["lr"]
                      for one in (found.generator_optimizer, found.critic_optimizer)])  # fmt: skip
    assert np.allclose(rates, [[0.1, 0.2], [0.1, 0.2], [0.1, 0.2], [0.05, 0.1]])


def test_the_average_follows_the_generator_alone() -> None:
    found = trainer("cyclegan_small", ema_decay=0.5)
    assert found.network is not found.trained["clean"]
    found.step(0, 0)
    assert not same(weights(found.network), weights(found.trained["clean"]))
    names = set(found.network.state_dict())
    assert names == set(found.trained["clean"].state_dict())


# --- what belongs together ---


def test_crops_of_both_sides_are_of_one_place_and_turned_alike() -> None:
    side = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 1, 40, 30), np.uint8))
    torch.manual_seed(0)
    one, other = crops([side, 255 - side], 20, 16, 8, mirror=True)
    assert one.shape == (20, 1, 16, 8)
    assert torch.allclose(one, 1 - other, atol=1e-6)
    assert len({tuple(crop.flatten().tolist()) for crop in one}) > 15
    whole = crops([side], 20, 0, 0, mirror=True)[0]
    turned = [any(torch.equal(one, side[at].flip(-1).float() / 255) for at in range(3))
              for one in whole]  # fmt: skip
    assert 0 < sum(turned) < 20


def test_the_critic_of_pix2pix_sees_a_picture_beside_its_own_noisy_one() -> None:
    found = trainer("pix2pix_small")
    assert isinstance(found, Pix2pixTrainer)
    noisy, clean = found._batch()
    (contest,) = found._contests((noisy, clean), (clean,))
    whole = contest.score(clean)
    for at in range(len(noisy)):
        pair = torch.cat([noisy[at : at + 1], clean[at : at + 1]], dim=1)
        assert torch.allclose(whole[at], found.critic(pair)[0], atol=1e-5)


def test_what_is_drawn_together_belongs_together() -> None:
    """A noisy scan and its own clean one; an image and its own class."""
    wgan = trainer("wgan_small", batch_size=8)
    noisy, clean = wgan._batch()
    for one, other in zip(noisy, clean, strict=True):
        (place,) = [at for at, scan in enumerate(wgan.noisy) if torch.equal(scan / 255, one)]
        assert torch.equal(wgan.clean[place] / 255, other)
    cgan = trainer("cgan", batch_size=16)
    real, classes, _ = cgan._batch()
    known = cgan.images.float() / 127.5 - 1
    for image, one in zip(real, classes, strict=True):
        (places,) = torch.where((known == image[0]).flatten(1).all(1))
        assert int(one.argmax()) in cgan.classes[places].tolist()


def test_the_class_reaches_generator_and_critic() -> None:
    found = trainer("cgan")
    found.critic.eval()  # spectral normalisation moves with each call
    real, classes, noise = found._batch()
    made = found._make((real, classes, noise))[0]
    other = found._make((real, classes.roll(1, 1), noise))[0]
    assert not torch.allclose(made, other)
    scores = [next(found._contests((real, of, noise), (made,))).score(real)
              for of in (classes, classes.roll(1, 1))]  # fmt: skip
    assert not torch.allclose(*scores)
    assert torch.equal(classes.sum(1), torch.ones(len(classes)))


def test_cyclegan_never_sees_a_pair_and_knows_which_way_is_which() -> None:
    paper = {"cycle_weight": 10.0, "identity_weight": 0.5}
    found = trainer("cyclegan_small", crop_height=0, crop_width=0, mirror=False, **paper)
    assert isinstance(found, CycleganTrainer)
    for side, seeds in ((found.noisy, range(3)), (found.clean, range(3, 6))):
        scans = [simulate(seed, (128, 128)) for seed in seeds]
        whole = [scan.noisy if side is found.noisy else scan.clean for scan in scans]
        assert torch.equal(side[:, 0], torch.from_numpy(np.stack(whole)))
    noisy, clean = found._batch()
    parts = found._make((noisy, clean))
    assert torch.equal(parts[0], found.trained["clean"](noisy))
    assert torch.equal(parts[1], found.trained["noisy"](clean))
    loss, named = found._besides((noisy, clean), parts)
    back = found.trained["noisy"](parts[0]), found.trained["clean"](parts[1])
    cycle = 2 * ((back[0] - noisy).abs().mean() + (back[1] - clean).abs().mean())
    stays = 2 * ((found.trained["clean"](clean) - clean).abs().mean()
                 + (found.trained["noisy"](noisy) - noisy).abs().mean())  # fmt: skip
    assert torch.allclose(named["cycle"], cycle, atol=1e-5)
    assert torch.allclose(loss, 10 * cycle + 5 * stays, atol=1e-4)


def test_the_pool_shows_older_images_in_half_of_the_cases() -> None:
    pool = ImagePool(50)
    torch.manual_seed(0)
    first = torch.arange(50.0).view(50, 1, 1, 1)
    assert torch.equal(pool(first), first)  # until it is full, what comes is shown
    shown = pool(torch.arange(100.0, 400.0).view(300, 1, 1, 1)).flatten()
    older = shown != torch.arange(100.0, 400.0)
    assert 100 < int(older.sum()) < 200
    assert len(pool.images) == 50
    assert ImagePool(0)(first) is first


def test_both_critics_of_cyclegan_are_shown_what_the_pools_give() -> None:
    found = trainer("cyclegan_small")
    batch = found._batch()
    seen: dict[str, list[torch.Tensor]] = {"clean": [], "noisy": []}
    for side, marked in (("clean", 0.25), ("noisy", 0.75)):
        found.pools[side] = lambda fake, marked=marked: torch.full_like(fake, marked)
        found.critic[side].register_forward_pre_hook(
            lambda _, given, side=side: seen[side].append(given[0])
        )
    found.critic_step(*batch)
    for side, marked in (("clean", 0.25), ("noisy", 0.75)):
        shown = [one for one in seen[side] if bool((one == marked).all())]
        assert len(shown) == 1
        assert len(seen[side]) == 2  # and the real ones


# --- parts, processes, resuming ---


@pytest.mark.parametrize("name", ["gan", long("wgan_small"), "pix2pix_small", "cyclegan_small"])
def test_a_batch_in_parts_gives_the_step_of_the_whole(name: str) -> None:
    changes: dict[str, Any] = {"pool": 0} if name == "cyclegan_small" else {}
    if name == "gan":  # dropout is drawn for each part
        changes["critic"] = replace(tiny(name).critic, dropout=0.0)  # type: ignore[attr-defined]
    found = []
    for accumulate in (1, 2):
        one = trainer(name, Hardware("cpu", accumulate=accumulate), **changes)
        values = one.step(0, 0)
        found.append(({key: float(value) for key, value in values.items()}, weights(one.trained)))
    (first, whole), (second, parts) = found
    assert first == pytest.approx(second, rel=1e-3, abs=1e-4)
    gaps = [(a.float() - b.float()).abs().max() for a, b in zip(whole, parts, strict=True)]
    # Adam's first step is a sign: where a gradient is about 0 it may be the other one
    moved = torch.cat([(a.float() - b.float()).abs().flatten()
                       for a, b in zip(whole, parts, strict=True)])  # fmt: skip
    assert max(gaps) < 0.01
    assert float((moved > 1e-5).float().mean()) < 0.02


@pytest.mark.long
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """With the gradient penalty, which torch's DDP cannot take, and shares of different sizes."""
    changes = ["batch_size=3", "learning_rate=1e-4"]
    settings = [word for one in (*TINY["wgan_small"], *changes) for word in ("--set", one)]
    command = [sys.executable, "-m", "dlkit", "train", "wgan_small", "--device", "cpu", *settings]
    done = subprocess.run(
        [*command, "--devices", "2", "--out", str(tmp_path / "two")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    logs = {"two": Run(tmp_path / "two").load_log()}
    logs["one"] = train(tiny("wgan_small").with_settings(changes), out=tmp_path / "one").load_log()
    assert logs["two"][0]["processes"] == 2
    for one, other in zip(logs["one"][1:], logs["two"][1:], strict=True):
        for key in set(one) - {"event", "seconds"}:
            assert other[key] == pytest.approx(one[key], rel=1e-3, abs=1e-3), key


@pytest.mark.long
@pytest.mark.parametrize("name", ["cgan", long("cyclegan_small")])
def test_interrupted_and_resumed_ends_with_the_same_state(name: str, tmp_path: Path) -> None:
    recipe = tiny(name)

    def interrupt(now: Moment) -> None:
        if now.step == 3 and now.metrics is None:
            os.kill(os.getpid(), signal.SIGINT)

    assert train(recipe, out=tmp_path / "whole").finished
    assert not train(recipe, out=tmp_path / "cut", watch=interrupt).finished
    assert train(recipe, out=tmp_path / "cut", resume=True).finished
    one, other = (Run(tmp_path / part).load_checkpoint() for part in ("whole", "cut"))
    for key in ("network", "trainer", "rng"):
        assert flat(one[key]) == flat(other[key]), key
    assert len(one["trainer"]["frames"]) == 3  # before the first step, and after each epoch
    film = images.decode_frames((tmp_path / "cut" / "samples.webp").read_bytes(), "film")
    assert film[0].shape[:2] == one["trainer"]["frames"][0].shape[:2]
    if name == "cyclegan_small":
        assert len(one["trainer"]["pools"]["clean"]) == 2


def test_the_film_grows_while_it_trains(tmp_path: Path) -> None:
    lengths: list[int] = []

    def watch(now: Moment) -> None:
        if now.metrics is not None and now.step:
            data = (tmp_path / "run" / "samples.webp").read_bytes()
            lengths.append(len(images.decode_frames(data, "film")))

    train(tiny("gan", learning_rate=0.1, held_out=0.0), out=tmp_path / "run", watch=watch)
    assert lengths == [2, 3]  # one before the first step


def flat(value: Any) -> Any:
    """Something that can be compared."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: flat(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [flat(one) for one in value]
    return value


# --- data ---


def test_unpaired_folders_need_no_partners(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", range(3), (64, 64), workers=1)
    for path in (tmp_path / "a" / "clean").iterdir():
        path.rename(path.with_name(f"other-{path.name}"))
    (tmp_path / "a" / "clean" / "other-000000000.png").unlink()
    found = load_unpaired(tmp_path / "a")
    assert (len(found.noisy), len(found.clean), found.held_out) == (3, 2, None)
    assert "nobody can say how good" in found.notes[0]
    write_pairs(tmp_path / "a" / "held_out", range(10, 12), (64, 64), workers=1)
    again = load_unpaired(tmp_path / "a")
    assert again.held_out is not None
    assert len(again.held_out.noisy) == 2
    assert again.fingerprint() == found.fingerprint()
    recipe = tiny("cyclegan_small", crop_height=0, crop_width=0)
    run = train(recipe, data=str(tmp_path / "a"), out=tmp_path / "run", learning_rate=0.1)
    *epochs, end = run.load_log()[1:]
    assert {"psnr", "ssim"} <= set(epochs[-1])
    best = max(epochs[1:], key=lambda entry: float(entry["psnr"]))
    assert end["best_epoch"] == best["epoch"]  # its losses do not say when it is good
    (tmp_path / "a" / "clean" / "other-000000001.png").unlink()
    (tmp_path / "a" / "clean" / "other-000000002.png").unlink()
    with pytest.raises(InputError, match="has no images"):
        load_unpaired(tmp_path / "a")


def test_without_held_out_pairs_the_film_is_of_a_scan_that_is_trained_on(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", range(2), (64, 64), workers=1)
    found = tiny("cyclegan_small", crop_height=0, crop_width=0).trainer(
        str(tmp_path / "a"), open_compute(Hardware("cpu"))
    )
    assert not found.evaluate()  # nobody can say how good it is
    found.draw(tmp_path)
    (film,) = images.decode_frames((tmp_path / "samples.webp").read_bytes(), "film")
    assert film.shape[:2] == (64, 2 * 64)  # the scan, and what becomes of it
    left = images.grey(film)[:, :64].astype(int)
    assert np.abs(left - simulate(0, (64, 64)).noisy).mean() < 12


def test_the_simulator_makes_both_sides_of_different_people(tmp_path: Path) -> None:
    runner = CliRunner()
    options = ["--count", "2", "--seed", "5", "--size", "64x64", "--workers", "1", "--unpaired"]
    done = runner.invoke(app, ["simulate", str(tmp_path / "apart"), *options])
    assert done.exit_code == 0, done.output
    names = [sorted(path.name for path in (tmp_path / "apart" / side).iterdir())
             for side in ("noisy", "clean")]  # fmt: skip
    assert names == [["000000005.png", "000000006.png"], ["000000007.png", "000000008.png"]]
    scan = simulate(7, (64, 64))
    clean = images.read(tmp_path / "apart" / "clean" / "000000007.png")
    assert np.array_equal(clean, scan.clean)
    done = runner.invoke(app, ["simulate", str(tmp_path / "no"), *options, "--masks"])
    assert isinstance(done.exception, UsageError)


def test_paired_folders_give_each_side_its_own_half(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a", range(5), (64, 64), workers=1)
    recipe = tiny("cyclegan_small", unpaired=False, crop_height=0, crop_width=0)
    torch.manual_seed(0)
    found = recipe.trainer(str(tmp_path / "a"), open_compute(Hardware("cpu")))
    assert isinstance(found, CycleganTrainer)
    scans = [simulate(seed, (64, 64)) for seed in range(5)]
    people = [
        {place for place, scan in enumerate(scans) for image in side
         if np.array_equal(getattr(scan, kind), image[0].numpy())}
        for kind, side in (("noisy", found.noisy), ("clean", found.clean))
    ]  # fmt: skip
    assert [len(one) for one in people] == [2, 2]
    assert not people[0] & people[1]
    assert found.held_out is not None
    assert found.held_out.noisy[0].shape == (64, 64)


def test_crops_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="crop_width is 100, expected a multiple of 128"):
        trainer("pix2pix_small", crop_width=100)
