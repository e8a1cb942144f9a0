"""What a critic and a generator want of each other, as losses.

``cross_entropy`` is the original GAN's with its non-saturating generator (Goodfellow et al., arXiv
1406.2661), ``least_squares`` LSGAN's in CycleGAN's form (Mao et al., arXiv 1611.04076; Zhu et al.,
arXiv 1703.10593), ``wasserstein`` WGAN's, with the gradient penalty of WGAN-GP (Gulrajani et al.,
arXiv 1704.00028).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

ADVERSARIES = ("wasserstein", "cross_entropy", "least_squares")
Score = Callable[[Tensor], Tensor]


def critic_loss(adversary: str, real: Tensor, fake: Tensor) -> Tensor:
    """Low where real images score higher than generated ones.

    Args:
        adversary: one of ``ADVERSARIES``.
        real, fake: scores of any shape; logits of "this is real" for ``cross_entropy``.
    """
    if adversary == "cross_entropy":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    if adversary == "least_squares":
        return ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2
    return fake.mean() - real.mean()


def generator_loss(adversary: str, fake: Tensor) -> Tensor:
    """Low where generated images score high."""
    if adversary == "cross_entropy":
        return F.softplus(-fake).mean()
    if adversary == "least_squares":
        return ((fake - 1) ** 2).mean()
    return -fake.mean()


def gradient_penalty(
    critic: Score, real: Tensor, fake: Tensor, mix: Tensor | None = None
) -> Tensor:
    """Mean of (|gradient| - 1)^2 at random points between real and fake images.

    One norm per sample over all of its values, and one mixing coefficient per sample, as in
    algorithm 1 of arXiv 1704.00028.

    Args:
        real, fake: float32 (N, C, H, W).
        mix: share of the real image in each sample, float32 (N, 1, 1, 1); drawn by default.

    Returns:
        A scalar that can be differentiated by the critic's weights.
    """
    if mix is None:
        mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    mixed = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    (gradients,) = torch.autograd.grad(
        critic(mixed).flatten(1).mean(1).sum(), mixed, create_graph=True
    )
    norms: Tensor = gradients.flatten(1).norm(2, dim=1)
    return ((norms - 1) ** 2).mean()
