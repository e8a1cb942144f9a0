"""How a generator and its critic are trained, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dlkit.plugins import unknown
from dlkit.training.networks.wgan import CriticConfig
from dlkit.training.restore.recipe import PairsRecipe

ADVERSARIES = ("wasserstein", "cross_entropy")


@dataclass(frozen=True, kw_only=True)
class WganRecipe(PairsRecipe):
    """How a generator and its critic are trained.

    Attributes:
        iterations: generator steps.
        critic: the network that tells clean images from generated ones.
        adversary: ``wasserstein``, or ``cross_entropy`` for the original GAN: the critic's scores
            are then logits of "this is real", and there is no gradient penalty.
        critic_steps: critic steps before each generator step.
        batch_size: pairs a step.
        learning_rate, beta1, beta2: of Adam, for both networks.
        gradient_penalty: lambda, the weight of the penalty; 0 leaves it out.
        weight_clip: the critic's weights are clipped to plus and minus this after each of its
            steps, as in the first WGAN (Arjovsky et al., arXiv 1701.07875: 0.01); 0 does not.
        content_weight: of the L1 distance to the clean image in the generator's loss.
        ema_decay: the exported generator is the moving average of the trained one, per step (Yazici
            et al., arXiv 1806.04498); 0, as in the article, exports the trained one.
        checkpoint_every: iterations between checkpoints and evaluations.
    """

    trained_by: ClassVar[str] = "dlkit.training.gan.trainer:WganTrainer"
    least: ClassVar[Mapping[str, float]] = {
        "iterations": 1,
        "critic_steps": 1,
        "batch_size": 1,
        "learning_rate": 0,
        "beta1": 0,
        "beta2": 0,
        "gradient_penalty": 0,
        "weight_clip": 0,
        "content_weight": 0,
        "ema_decay": 0,
        "checkpoint_every": 1,
        "pairs": 1,
        "height": 1,
        "width": 1,
        "held_out": 1,
    }
    below: ClassVar[Mapping[str, float]] = {"beta1": 1, "beta2": 1, "ema_decay": 1}

    iterations: int
    critic: CriticConfig = field(default_factory=CriticConfig)
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
    held_out: int = 16

    def check(self) -> None:
        """As every recipe's; and an adversary that is none."""
        super().check()
        if self.adversary not in ADVERSARIES:
            raise unknown("adversary", self.adversary, list(ADVERSARIES))
