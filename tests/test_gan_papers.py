"""Recipes of GANs have the defaults of their papers; what departs is said in docs/generating.md."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from dlkit.bundle import Bundle
from dlkit.training.engine.fabric import Hardware, open_compute
from dlkit.training.networks._image_critic import Maxout, build_image_critic
from dlkit.training.networks._patchgan import PatchCriticConfig, build_patch_critic
from dlkit.training.networks.wgan import build_critic
from dlkit.training.recipe import RECIPES

pytestmark = pytest.mark.usefixtures("one_thread")

ADAM = {"learning_rate": 2e-4, "beta1": 0.5, "beta2": 0.999, "critic_rate": 1.0}
PLAIN = {"critic_steps": 1, "ema_decay": 0.0, "weight_clip": 0.0}
PAPERS: dict[str, dict[str, Any]] = {
    # Goodfellow et al., arXiv 1406.2661, section 4: k = 1, and its code's 100 numbers of noise.
    # Adam is not its: it had stochastic gradient descent with momentum, in batches of 100.
    "gan": {**ADAM, **PLAIN, "adversary": "cross_entropy", "batch_size": 64, "decay": 0.0,
            "network.latent": 100, "critic.kind": "maxout", "critic.dropout": 0.5},
    # Radford et al., arXiv 1511.06434, section 4
    "dcgan": {**ADAM, **PLAIN, "adversary": "cross_entropy", "batch_size": 128, "decay": 0.0,
              "network.latent": 100, "critic.normalize": "batch", "critic.dropout": 0.0},
    # Isola et al., arXiv 1611.07004, sections 3.3 and 6.2; 100 of 200 epochs fall in its code
    "pix2pix": {**ADAM, **PLAIN, "adversary": "cross_entropy", "batch_size": 1, "decay": 0.5,
                "content_weight": 100.0, "network.dropout": 0.5, "critic.layers": 3},
    # Zhu et al., arXiv 1703.10593, sections 4 and 7.1; 100 of 200 epochs fall
    "cyclegan": {**ADAM, **PLAIN, "adversary": "least_squares", "batch_size": 1, "decay": 0.5,
                 "cycle_weight": 10.0, "identity_weight": 0.5, "pool": 50, "network.blocks": 9,
                 "critic.layers": 3},
    # The article's code; lambda 10 is that of Gulrajani et al., too
    "wgan": {"learning_rate": 1e-4, "beta1": 0.5, "beta2": 0.999, "critic_steps": 3,
             "batch_size": 16, "gradient_penalty": 10.0, "adversary": "wasserstein",
             "iterations": 400, "checkpoint_every": 50, "content_weight": 0.0},
    # Gulrajani et al., arXiv 1704.00028, algorithm 1: five critic steps, (0, 0.9), lambda 10
    "wgan_small": {"beta1": 0.0, "beta2": 0.9, "critic_steps": 5, "gradient_penalty": 10.0},
}  # fmt: skip


@pytest.mark.parametrize("name", PAPERS)
def test_defaults_are_the_papers(name: str) -> None:
    found = RECIPES.load(name).to_json()
    for key, wanted in PAPERS[name].items():
        part, _, field = key.rpartition(".")
        assert (found[part] if part else found)[field] == wanted, key


def test_the_shipped_generator_is_of_this_recipe() -> None:
    trained = Bundle.open("digit_maker").origin["recipe"]
    now = RECIPES.load("cgan").to_json()
    sizes = {"image_size": 28, "channels": 1, "classes": 10}
    assert trained == now | {"data": "mnist", "network": now["network"] | sizes}


@pytest.mark.parametrize(("layers", "patch"), [(3, 70), (2, 34), (1, 16)])
def test_a_score_of_the_patchgan_is_of_a_patch(layers: int, patch: int) -> None:
    assert RECIPES.load("pix2pix").critic.layers == 3  # type: ignore[attr-defined]
    critic = build_patch_critic(PatchCriticConfig(0.1, layers, normalize=False), 1)
    image = torch.rand(1, 1, 128, 128, requires_grad=True)
    scores = critic(image)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    assert image.grad is not None
    for axis in (2, 3):
        seen = image.grad.abs().amax(dim=(0, 1, 5 - axis)).nonzero()
        assert int(seen.max() - seen.min()) + 1 == patch


def parts_of(name: str) -> list[nn.Module]:
    """Generator and critic, a quarter as wide, which the start does not depend on."""
    recipe: Any = RECIPES.load(name)
    torch.manual_seed(0)
    network = recipe.network.replace(width=0.25)
    known = {"image_size": 28, "channels": 1}
    there = {key: value for key, value in known.items() if hasattr(network.config, key)}
    generator = network.filled(**there).build()
    config = replace(recipe.critic, width=0.25)
    if name == "dcgan":
        return [generator, build_image_critic(config, 1, 28, 0)]
    build = build_critic if name.startswith("wgan") else build_patch_critic
    return [generator, build(config, 1)]


CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@pytest.mark.parametrize("name", ["dcgan", "pix2pix", "cyclegan"])
def test_weights_begin_with_a_deviation_of_a_fiftieth(name: str) -> None:
    """N(0, 0.02): DCGAN, section 4; pix2pix, 6.2; CycleGAN, 7.1. N(1, 0.02): their code."""
    for network in parts_of(name):
        found = [module for module in network.modules() if isinstance(module, CONVOLUTIONS)]
        assert found
        for module in found:
            error = 5 * 0.02 / module.weight.numel() ** 0.5
            assert float(module.weight.mean().detach()) == pytest.approx(0, abs=error)
            if module.weight.numel() > 1:
                assert float(module.weight.std().detach()) == pytest.approx(0.02, abs=error)
        factors = [module.weight.detach() for module in network.modules()
                   if isinstance(module, nn.BatchNorm2d)]  # fmt: skip
        assert bool(factors) == (name == "dcgan")
        for factor in factors:
            assert float(factor.mean()) == pytest.approx(1, abs=0.02)
            assert 0.005 < float(factor.std()) < 0.04
    if name == "dcgan":  # whose authors' code has none
        biases = [value for network in parts_of(name) for key, value in network.named_parameters()
                  if key.endswith("bias")]  # fmt: skip
        assert all(not bool(value.any()) for value in biases)


def test_weights_of_the_wgan_begin_as_xavier_has_them() -> None:
    for network in parts_of("wgan"):
        for module in network.modules():
            if isinstance(module, CONVOLUTIONS):
                inner, outer = nn.init._calculate_fan_in_and_fan_out(module.weight)
                wanted = (2 / (inner + outer)) ** 0.5
                weight = module.weight.detach()
                assert float(weight.std()) == pytest.approx(wanted, rel=0.2)
                assert module.bias is None or not bool(module.bias.any())


@pytest.mark.parametrize("name", ["dcgan", "pix2pix", "cyclegan", "wgan"])
def test_critics_leak_a_fifth(name: str) -> None:
    slopes = {module.negative_slope for module in parts_of(name)[1].modules()
              if isinstance(module, nn.LeakyReLU)}  # fmt: skip
    assert slopes == {0.2}


def test_the_original_gan_is_that_of_its_code_but_for_what_is_said() -> None:
    recipe: Any = RECIPES.load("gan")
    found = recipe.trainer("mnist-mini", open_compute(Hardware("cpu")))
    wide = [module.out_features for module in found.trained if isinstance(module, nn.Linear)]
    assert wide == [1200, 1200, 784]
    units = [(one.out, one.linear.out_features // one.out) for one in found.critic.modules()
             if isinstance(one, Maxout)]  # fmt: skip
    assert units == [(240, 5), (240, 5)]
