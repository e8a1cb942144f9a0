"""Train the article's generator against its critic on pairs: WGAN-GP.

The critic's loss is D(fake) - D(real) + lambda * (|grad D(mixed)| - 1)^2; the generator's is
-D(fake) + content_weight * L1(fake, clean). content_weight 0 is the article's code; 1000 is what
the thesis behind it found best. The other adversaries are for comparison.
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
from dlkit.training.gan.losses import gradient_penalty as gradient_penalty
from dlkit.training.gan.recipe import Pix2pixRecipe, WganRecipe
from dlkit.training.gan.scans import stack, strip
from dlkit.training.networks.wgan import build_critic
from dlkit.training.restore.held_out import (
    channels_of,
    evaluate_denoiser,
    meaning_of,
    named,
    training_pairs,
)


class WganTrainer(AdversarialTrainer):
    """A batch is noisy and clean images: float32 (N, C, H, W), 0 to 1."""

    recipe: WganRecipe | Pix2pixRecipe
    bounded = ("content",)
    growing = False

    def __init__(self, recipe: WganRecipe | Pix2pixRecipe, data: str, compute: Compute) -> None:
        pairs, self.held_out = training_pairs(recipe, data)
        channels = channels_of(pairs)
        where, self.dataset = named(data)
        filled = recipe.network.filled(channels=channels)
        self.recipe = recipe = replace(recipe, network=filled, data=where)
        self.multiple_of = recipe.network.architecture.multiple_of
        self.fingerprint = pairs.fingerprint()
        self.notes = pairs.notes
        device = compute.device
        self.noisy, self.clean = (
            stack(side, self.multiple_of).to(device) for side in (pairs.noisy, pairs.clean)
        )
        trained = recipe.network.build().to(device)
        self.assemble(compute, trained, trained, self._build_critic(channels).to(device))
        self.generate, self.score = compute.called(trained), compute.called(self.critic)
        self.model = PixelDenoiser(self.network, channels)

    def _build_critic(self, channels: int) -> nn.Module:
        assert isinstance(self.recipe, WganRecipe)
        return build_critic(self.recipe.critic, channels)

    def _batch(self) -> Batch:
        chosen = torch.randint(len(self.noisy), (self.recipe.batch_size,)).to(
            self.device, non_blocking=True
        )
        return self.noisy[chosen].float() / 255, self.clean[chosen].float() / 255

    def _make(self, batch: Batch) -> Batch:
        return (self.generate(batch[0]),)

    def _contests(self, batch: Batch, made: Batch) -> Iterator[Contest]:
        yield Contest(self.score, batch[1], made[0])

    def _besides(self, batch: Batch, made: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        content = F.l1_loss(made[0], batch[1])
        return self.recipe.content_weight * content, {"content": content.detach()}

    def _measure(self) -> Mapping[str, float]:
        """PSNR in dB and SSIM on the held-out pairs."""
        return evaluate_denoiser(self.model, self.held_out, self.multiple_of, self.device)

    @torch.inference_mode()
    def _picture(self) -> images.UInt8:
        self.model.eval()
        shown = (self.held_out.noisy[0], self.held_out.clean[0])
        return strip(shown, lambda one: self.model(one.to(self.device)), self.multiple_of)

    def meaning(self) -> dict[str, Any]:
        """Channels of the images, and the range of their files."""
        return meaning_of(self.recipe)
