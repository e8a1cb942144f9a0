"""Structural similarity as a loss: the metric's own window, quick on a processor.

torchmetrics computes the same windows as convolutions, which take 1.5 s a step on two cores for
five scans; box means by average pooling take 0.1 s. tests/test_denoiser_training.py compares with
scikit-image.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

WINDOW = 7  # scikit-image's default, which `score.ssim` reports


def similarity(one: Tensor, other: Tensor) -> Tensor:
    """Mean SSIM of two batches, differentiable: float32 (N, C, H, W), 0 to 1, to a scalar.

    Windows lie fully inside the image, as in scikit-image's mean; H and W at least `WINDOW`.
    """
    unbiased = WINDOW**2 / (WINDOW**2 - 1)

    def box(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, WINDOW, 1)

    mean_one, mean_other = box(one), box(other)
    spread_one = (box(one * one) - mean_one**2) * unbiased
    spread_other = (box(other * other) - mean_other**2) * unbiased
    shared = (box(one * other) - mean_one * mean_other) * unbiased
    # Wang et al. 2004: (0.01 L)^2 and (0.03 L)^2 with the range L = 1
    light, contrast = 0.01**2, 0.03**2
    top = (2 * mean_one * mean_other + light) * (2 * shared + contrast)
    below = (mean_one**2 + mean_other**2 + light) * (spread_one + spread_other + contrast)
    return (top / below).mean()
