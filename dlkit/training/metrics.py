"""How good a denoised image is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dlkit.images import Pixels

# An image without any error has an infinite PSNR; one wrong grey level in a 678 x 384 scan gives
# 102 dB. The cap keeps a mean over images finite.
_PSNR_CAP = 100.0


def psnr(clean: Pixels, restored: Pixels) -> float:
    """Peak signal-to-noise ratio of one uint8 image, in dB, peak 255; at most 100."""
    if np.array_equal(clean, restored):
        return _PSNR_CAP
    return min(_PSNR_CAP, float(peak_signal_noise_ratio(clean, restored, data_range=255)))


def ssim(clean: Pixels, restored: Pixels) -> float:
    """Structural similarity of one uint8 image: scikit-image's default 7 x 7 window, range 255."""
    return float(structural_similarity(clean, restored, data_range=255))


def mean_psnr_ssim(clean: Sequence[Pixels], restored: Sequence[Pixels]) -> tuple[float, float]:
    """PSNR and SSIM per image, then the mean over images (a pooled error gives other numbers)."""
    scores = [
        (psnr(one, other), ssim(one, other)) for one, other in zip(clean, restored, strict=True)
    ]
    return float(np.mean([s[0] for s in scores])), float(np.mean([s[1] for s in scores]))
