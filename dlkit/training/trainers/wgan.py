"""Train a generator against a critic: WGAN-GP (Gulrajani et al., arXiv 1704.00028), paired data.

The critic's loss is D(fake) - D(real) + lambda * (|grad D(mixed)| - 1)^2; the generator's is
-D(fake) + content_weight * L1(fake, clean). content_weight 0 is the article's code; 1000 is what
the thesis behind it found best. The adversary "cross_entropy" is the original GAN instead
(Goodfellow et al., arXiv 1406.2661, with its non-saturating generator's loss), for comparison.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlkit import images
from dlkit.errors import InputError, UsageError
from dlkit.plugins import unknown
from dlkit.training.compute import Compute
from dlkit.training.data.pairs import SIMULATED
from dlkit.training.evaluation import evaluate_denoiser, training_pairs
from dlkit.training.loop import Trainer
from dlkit.training.pixels import PixelDenoiser
from dlkit.training.recipe import ARCHITECTURES, Recipe


@dataclass(frozen=True, kw_only=True)
class WganRecipe(Recipe):
    """How a generator and its critic are trained.

    Attributes:
        iterations: generator steps.
        adversary: ``wasserstein``, or ``cross_entropy`` for the original GAN: the critic's scores
            are then logits of "this is real", and there is no gradient penalty.
        critic_steps: critic steps before each generator step.
        batch_size: pairs a step.
        learning_rate, beta1, beta2: of Adam, for both networks.
        gradient_penalty: lambda, the weight of the penalty; 0 leaves it out.
        weight_clip: the critic's weights are clipped to plus and minus this after each of its
            steps, as in the first WGAN (Arjovsky et al., arXiv 1701.07875: 0.01); 0 does not.
        ema_decay: the exported generator is the moving average of the trained one, per step (Yazici
            et al., arXiv 1806.04498); 0, as in the article, exports the trained one.
        content_weight: of the L1 distance to the clean image in the generator's loss.
        checkpoint_every: iterations between checkpoints and evaluations.
        pairs: simulated pairs, when ``data`` is ``simulated``.
        height, width: of simulated scans, in pixels.
        held_out: pairs kept for evaluation: simulated ones with seeds of their own, or the last
            ones of a folder, by name.
    """

    trainer: ClassVar[str] = "wgan"

    iterations: int
    data: str = SIMULATED
    adversary: str = "wasserstein"
    critic_steps: int = 3
    batch_size: int = 16
    learning_rate: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.999
    gradient_penalty: float = 10.0
    weight_clip: float = 0.0
    content_weight: float = 0.0
    ema_decay: float = 0.0
    checkpoint_every: int = 50
    pairs: int = 512
    height: int = 678
    width: int = 384
    held_out: int = 16


ADVERSARIES = ("wasserstein", "cross_entropy")


class WganTrainer(Trainer):
    """One step is ``critic_steps`` steps of the critic and one of the generator."""

    def __init__(self, recipe: WganRecipe, data: str, compute: Compute) -> None:
        for name in ("iterations", "critic_steps", "batch_size", "checkpoint_every", "held_out"):
            if getattr(recipe, name) < 1:
                raise UsageError(f"{name} is {getattr(recipe, name)}, expected 1 or more")
        if recipe.adversary not in ADVERSARIES:
            raise UsageError(unknown("adversary", recipe.adversary, list(ADVERSARIES)))
        if compute.world > 1 or compute.accumulate > 1:
            raise UsageError(
                "a generator and its critic train in one process on whole batches: the gradient "
                "penalty needs it. Leave out --devices, --nodes and --accumulate"
            )
        self.recipe = recipe
        self.fabric = compute.fabric
        self.device = device = compute.device
        self.dataset = data if data == SIMULATED else Path(data).resolve().name
        module = ARCHITECTURES.load(recipe.architecture)
        self.multiple_of: int = module.MULTIPLE_OF
        pairs, self.held_out = training_pairs(
            data, recipe.pairs, recipe.held_out, (recipe.height, recipe.width), recipe.seed
        )
        self.fingerprint = pairs.fingerprint()
        self.noisy, self.clean = (
            _stack(side, self.multiple_of).to(device) for side in (pairs.noisy, pairs.clean)
        )
        self.trained: nn.Module = module.build(recipe.network).to(device)
        self.network = copy.deepcopy(self.trained)
        self.critic: nn.Module = module.build_critic(recipe.network).to(device)
        self.model = PixelDenoiser(self.network)
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
        """Make the critic tell clean from generated. float32 (N, 1, H, W), 0 to 1."""
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
        self._follow()
        return {"generator_loss": loss.detach(), "content": content.detach()}

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the exported generator follow the trained one."""
        for average, now in zip(self.network.parameters(), self.trained.parameters(), strict=True):
            average.lerp_(now, 1 - self.recipe.ema_decay)

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
        """Random pairs, as float32 (N, 1, H, W), 0 to 1; torch's random state makes it repeat."""
        chosen = torch.randint(len(self.noisy), (self.recipe.batch_size,)).to(self.device)
        return tuple(side[chosen].unsqueeze(1).float() / 255 for side in (self.noisy, self.clean))  # type: ignore[return-value]


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Mean of (|gradient| - 1)^2 at random points between real and fake images.

    One norm per sample over all of its values, and one mixing coefficient per sample, as in
    algorithm 1 of arXiv 1704.00028.

    Args:
        real, fake: float32 (N, 1, H, W).

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


def _stack(side: list[images.Pixels], multiple_of: int) -> Tensor:
    if len({image.shape for image in side}) > 1:
        shapes = sorted({image.shape for image in side})
        raise InputError(
            f"training images have different sizes ({shapes[0]} and {shapes[-1]}): "
            "cut or scale them to one"
        )
    return torch.from_numpy(np.stack([images.pad(image, multiple_of) for image in side]))


RECIPE = WganRecipe
TRAINER = WganTrainer
