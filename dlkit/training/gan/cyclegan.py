"""Train CycleGAN: noisy images to clean ones, without a pair (Zhu et al., arXiv 1703.10593).

Two generators, one for each way, and a critic of each side. What is translated there and back must
be what it was, and an image that is of the wanted side already should stay. The generator that
cleans is exported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit import images
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.training.engine.fabric import Compute
from dlkit.training.gan.adversarial import AdversarialTrainer, Batch, Contest
from dlkit.training.gan.pool import ImagePool
from dlkit.training.gan.recipe import CycleganRecipe
from dlkit.training.gan.scans import check_crops, crops, stack, strip
from dlkit.training.gan.sides import unpaired_sides
from dlkit.training.networks._patchgan import build_patch_critic
from dlkit.training.restore.held_out import evaluate_denoiser, meaning_of, named

_SIDES = ("clean", "noisy")


class CycleganTrainer(AdversarialTrainer):
    """A batch is noisy images and clean ones of others: float32 (N, C, H, W), 0 to 1."""

    recipe: CycleganRecipe
    bounded = ("cycle",)

    def __init__(self, recipe: CycleganRecipe, data: str, compute: Compute) -> None:
        found = unpaired_sides(recipe, data)
        where, self.dataset = named(data)
        channels = 1 if found.noisy[0].ndim == 2 else 3
        filled = recipe.network.filled(channels=channels)
        self.recipe = recipe = replace(recipe, network=filled, data=where)
        self.multiple_of = recipe.network.architecture.multiple_of
        self.held_out = pairs = found.held_out
        if pairs is not None:  # its losses do not say when to stop: see docs/generating.md
            self.monitor = "psnr"
        self.shown = [found.noisy[0]] if pairs is None else [pairs.noisy[0], pairs.clean[0]]
        self.fingerprint, self.notes = found.fingerprint(), list(found.notes)
        device = compute.device
        self.noisy, self.clean = (
            stack(side, self.multiple_of).to(device) for side in (found.noisy, found.clean)
        )
        for side in (self.noisy, self.clean):
            whole = (side.shape[-2], side.shape[-1])
            check_crops(recipe.crop_height, recipe.crop_width, whole, self.multiple_of)
        trained = nn.ModuleDict({side: recipe.network.build() for side in _SIDES}).to(device)
        critic = nn.ModuleDict(
            {side: build_patch_critic(recipe.critic, channels) for side in _SIDES}
        ).to(device)
        self.assemble(compute, trained, trained["clean"], critic)
        self.to_clean, self.to_noisy = (compute.called(trained[side]) for side in _SIDES)
        self.score_clean, self.score_noisy = (compute.called(critic[side]) for side in _SIDES)
        self.pools = {side: ImagePool(recipe.pool) for side in _SIDES}
        self.model = PixelDenoiser(self.network, channels)

    def _batch(self) -> Batch:
        recipe = self.recipe
        size = (recipe.batch_size, recipe.crop_height, recipe.crop_width, recipe.mirror)
        return [crops([side], *size)[0] for side in (self.noisy, self.clean)]

    def _make(self, batch: Batch) -> Batch:
        noisy, clean = batch
        return self.to_clean(noisy), self.to_noisy(clean)

    def _contests(self, batch: Batch, made: Batch) -> Iterator[Contest]:
        (noisy, clean), (made_clean, made_noisy) = batch, made
        yield Contest(self.score_clean, clean, made_clean, self.pools["clean"])
        yield Contest(self.score_noisy, noisy, made_noisy, self.pools["noisy"])

    def _besides(self, batch: Batch, made: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        recipe = self.recipe
        (noisy, clean), (made_clean, made_noisy) = batch, made
        there_and_back = F.l1_loss(self.to_noisy(made_clean), noisy) + F.l1_loss(
            self.to_clean(made_noisy), clean
        )
        cycle = 2 * there_and_back  # the paper's images are from -1 to 1
        loss = recipe.cycle_weight * cycle
        named = {"cycle": cycle.detach()}
        if recipe.identity_weight:
            as_it_was = F.l1_loss(self.to_clean(clean), clean) + F.l1_loss(
                self.to_noisy(noisy), noisy
            )
            loss = loss + recipe.cycle_weight * recipe.identity_weight * 2 * as_it_was
            named["identity"] = 2 * as_it_was.detach()
        return loss, named

    def _measure(self) -> Mapping[str, float]:
        """PSNR in dB and SSIM on held-out pairs, where there are some."""
        if self.held_out is None:
            return {}
        return evaluate_denoiser(self.model, self.held_out, self.multiple_of, self.device)

    @torch.inference_mode()
    def _picture(self) -> images.UInt8:
        self.model.eval()
        return strip(self.shown, lambda one: self.model(one.to(self.device)), self.multiple_of)

    def meaning(self) -> dict[str, Any]:
        """Channels of the images, and the range of their files."""
        return meaning_of(self.recipe)

    def state(self) -> dict[str, Any]:
        """As every GAN's; and the pools."""
        pools = {side: pool.images for side, pool in self.pools.items()}
        return {**super().state(), "pools": pools}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        super().load_state(state)
        for side, pool in self.pools.items():
            pool.images = [image.to(self.device) for image in state["pools"][side]]
