"""Train a generator against a critic: WGAN-GP (Gulrajani et al., arXiv 1704.00028), paired data.

The critic's loss is D(fake) - D(real) + lambda * (|grad D(mixed)| - 1)^2; the generator's is
-D(fake) + content_weight * L1(fake, clean). content_weight 0 is the article's code; 1000 is what
the thesis behind it found best. The adversary "cross_entropy" is the original GAN instead
(Goodfellow et al., arXiv 1406.2661, with its non-saturating generator's loss), for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit import images
from dlkit.errors import InputError, UsageError
from dlkit.tasks.denoise.pairs import SIMULATED
from dlkit.tasks.denoise.pixels import PixelDenoiser
from dlkit.training.engine.average import moving_average
from dlkit.training.engine.fabric import Compute
from dlkit.training.engine.trainer import Trainer
from dlkit.training.gan.recipe import WganRecipe
from dlkit.training.networks.wgan import build_critic
from dlkit.training.restore.held_out import (
    channels_of,
    evaluate_denoiser,
    meaning_of,
    training_pairs,
)


class WganTrainer(Trainer):
    """One step is ``critic_steps`` steps of the critic and one of the generator."""

    recipe: WganRecipe
    bounded = ()  # a critic's scores have no scale

    def __init__(self, recipe: WganRecipe, data: str, compute: Compute) -> None:
        if compute.world > 1 or compute.accumulate > 1:
            raise UsageError(
                "a generator and its critic train in one process on whole batches: the gradient "
                "penalty needs it",
                "Leave out --devices, --nodes and --accumulate",
            )
        pairs, self.held_out = training_pairs(recipe, data)
        channels = channels_of(pairs)
        where = data if data == SIMULATED else str(Path(data).resolve())
        filled = recipe.network.filled(channels=channels)
        self.recipe = recipe = replace(recipe, network=filled, data=where)
        self.fabric = compute.fabric
        self.device = device = compute.device
        self.dataset = data if data == SIMULATED else Path(data).resolve().name
        self.multiple_of = recipe.network.architecture.multiple_of
        self.fingerprint = pairs.fingerprint()
        self.notes = pairs.notes
        self.noisy, self.clean = (
            _stack(side, self.multiple_of).to(device) for side in (pairs.noisy, pairs.clean)
        )
        self.trained: nn.Module = recipe.network.build().to(device)
        self.average = moving_average(self.trained, recipe.ema_decay, growing=False)
        self.network = self.average.module
        self.critic: nn.Module = build_critic(recipe.critic, channels).to(device)
        self.model = PixelDenoiser(self.network, channels)
        betas = (recipe.beta1, recipe.beta2)
        (self.generate, self.generator_optimizer), (self.score, self.critic_optimizer) = (
            compute.setup(
                net, torch.optim.Adam(net.parameters(), recipe.learning_rate, betas=betas)
            )
            for net in (self.trained, self.critic)
        )
        self.steps_per_epoch = min(recipe.checkpoint_every, recipe.iterations)
        self.epochs = -(-recipe.iterations // self.steps_per_epoch)

    def step(self, epoch: int, index: int) -> Mapping[str, Tensor]:
        """``critic_steps`` critic steps, one generator step."""
        for _ in range(self.recipe.critic_steps):
            critic = self.critic_step(*self._batch())
        return {**critic, **self.generator_step(*self._batch())}

    def critic_step(self, noisy: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        """Make the critic tell clean from generated. float32 (N, C, H, W), 0 to 1."""
        with torch.no_grad():  # the critic's step must not build the generator's graph
            fake = self.generate(noisy)
        real, made = self.score(clean), self.score(fake)
        real_score, fake_score = real.mean(), made.mean()
        if self.recipe.adversary == "cross_entropy":
            loss = F.softplus(-real).mean() + F.softplus(made).mean()
        else:
            loss = fake_score - real_score
            if self.recipe.gradient_penalty:
                penalty = gradient_penalty(self.score, clean, fake)
                loss = loss + self.recipe.gradient_penalty * penalty
        self.critic_optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.critic_optimizer.step()
        if bound := self.recipe.weight_clip:
            with torch.no_grad():
                for weight in self.critic.parameters():
                    weight.clamp_(-bound, bound)
        return {
            "critic_loss": loss.detach(),
            "wasserstein": (real_score - fake_score).detach(),
        }

    def generator_step(self, noisy: Tensor, clean: Tensor) -> Mapping[str, Tensor]:
        """Make the critic take generated for clean, and stay close to the clean image."""
        self.critic.requires_grad_(False)
        fake = self.generate(noisy)
        content = F.l1_loss(fake, clean)
        scores = self.score(fake)
        if self.recipe.adversary == "cross_entropy":
            convinced = F.softplus(-scores).mean()
        else:
            convinced = -scores.mean()
        loss = self.recipe.content_weight * content + convinced
        self.generator_optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.generator_optimizer.step()
        self.critic.requires_grad_(True)
        self.average.update_parameters(self.trained)
        return {"generator_loss": loss.detach(), "content": content.detach()}

    def meaning(self) -> dict[str, Any]:
        """Channels of the images, and the range of their files."""
        return meaning_of(self.recipe)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Begin with these weights of the generator; the critic stays fresh."""
        self.trained.load_state_dict(weights)
        self.network.load_state_dict(weights)

    def evaluate(self) -> Mapping[str, float]:
        """PSNR in dB and SSIM on the held-out pairs."""
        return evaluate_denoiser(self.model, self.held_out, self.multiple_of, self.device)

    def state(self) -> dict[str, Any]:
        """The generator as trained, the critic and both optimizers."""
        return {
            "trained": self.trained.state_dict(),
            "critic": self.critic.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "critic_optimizer": self.critic_optimizer.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state`` gave."""
        self.trained.load_state_dict(state["trained"])
        self.critic.load_state_dict(state["critic"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.critic_optimizer.load_state_dict(state["critic_optimizer"])

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Random pairs, as float32 (N, C, H, W), 0 to 1; torch's random state makes it repeat."""
        chosen = torch.randint(len(self.noisy), (self.recipe.batch_size,)).to(self.device)
        return self.noisy[chosen].float() / 255, self.clean[chosen].float() / 255


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)^2 at random points between real and fake images.

    One norm per sample over all of its values, and one mixing coefficient per sample, as in
    algorithm 1 of arXiv 1704.00028.

    Args:
        real, fake: float32 (N, C, H, W).

    Returns:
        A scalar that can be differentiated by the critic's weights.
    """
    mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    mixed = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    (gradients,) = torch.autograd.grad(
        critic(mixed).flatten(1).mean(1).sum(), mixed, create_graph=True
    )
    norms: Tensor = gradients.flatten(1).norm(2, dim=1)
    return ((norms - 1) ** 2).mean()


def _stack(side: list[images.UInt8], multiple_of: int) -> Tensor:
    """Padded, uint8 (N, C, H, W)."""
    if len({image.shape for image in side}) > 1:
        shapes = sorted({image.shape for image in side})
        raise InputError(
            f"training images have different sizes ({shapes[0]} and {shapes[-1]})",
            "Cut or scale them to one",
        )
    stack = torch.from_numpy(np.stack([images.pad(image, multiple_of) for image in side]))
    return stack.unsqueeze(1) if stack.ndim == 3 else stack.permute(0, 3, 1, 2).contiguous()
