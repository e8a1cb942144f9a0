"""How near a cleaned image is to the clean one: PSNR and SSIM as the literature computes them.

scikit-image computes them; it is there where torch is, and imported late.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dlkit.images import UInt8

# An image without any error has an infinite PSNR; one wrong grey level in a 678 x 384 scan gives
# 102 dB. The cap keeps a mean over images finite.
PSNR_CAP = 100.0


def psnr(clean: UInt8, restored: UInt8) -> float:
    """Peak signal-to-noise ratio of one uint8 image, in dB, peak 255; at most 100."""
    from skimage.metrics import peak_signal_noise_ratio

    if np.array_equal(clean, restored):
        return PSNR_CAP
    return min(PSNR_CAP, float(peak_signal_noise_ratio(clean, restored, data_range=255)))


def ssim(clean: UInt8, restored: UInt8) -> float:
    """Structural similarity of one uint8 image: scikit-image's default 7 x 7 window, range 255.

    Of colour images the mean over the channels.
    """
    from skimage.metrics import structural_similarity

    axis = 2 if clean.ndim == 3 else None
    return float(structural_similarity(clean, restored, data_range=255, channel_axis=axis))


def mean_psnr_ssim(clean: Sequence[UInt8], restored: Sequence[UInt8]) -> tuple[float, float]:
    """PSNR and SSIM per image, then the mean over images (a pooled error gives other numbers)."""
    scores = [
        (psnr(one, other), ssim(one, other)) for one, other in zip(clean, restored, strict=True)
    ]
    return float(np.mean([s[0] for s in scores])), float(np.mean([s[1] for s in scores]))
