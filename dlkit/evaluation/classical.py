"""Classical ways to clean a scan: what a network has to beat.

Each takes a scan, uint8 (H, W), and gives uint8 (H, W).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from dlkit.images import UInt8
from dlkit.mmwave import DEFAULTS

Method = Callable[[UInt8], UInt8]

# Standard deviation of a scan's noise in grey levels, stripes aside: measured 4.9 to 5.4.
NOISE = 5.2


def raw(scan: UInt8) -> UInt8:
    """The scan as it is."""
    return scan


def black(scan: UInt8) -> UInt8:
    """Nothing at all: what a black background alone is worth."""
    return np.zeros_like(scan)


def fixed_curve(scan: UInt8) -> UInt8:
    """The one levels curve that people use most, on every pixel."""
    table = np.interp(np.arange(256), DEFAULTS.curve_raw, DEFAULTS.curve_clean)
    return np.asarray(np.rint(table).astype(np.uint8)[scan])


def destripe_otsu(scan: UInt8) -> UInt8:
    """Subtract what a column's median differs from its neighbours', blur slightly, and put the
    levels curve's half at Otsu's threshold."""
    image = scan.astype(np.float32)
    columns = np.median(image, axis=0)[None].astype(np.float32)
    stripes = columns - cv2.GaussianBlur(columns, (0, 0), 12)
    image = np.asarray(cv2.GaussianBlur(image - stripes, (0, 0), 1.0), dtype=np.float32)
    level, _ = cv2.threshold(
        np.clip(image, 0, 255).astype(np.uint8), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU
    )
    middle = np.interp(128, DEFAULTS.curve_clean, DEFAULTS.curve_raw)
    return _bytes(np.interp(image - level + middle, DEFAULTS.curve_raw, DEFAULTS.curve_clean))


def non_local_means(scan: UInt8) -> UInt8:
    """OpenCV's non-local means; its strength is about twice the noise for grey pictures."""
    return np.asarray(cv2.fastNlMeansDenoising(scan, None, 2 * NOISE), dtype=np.uint8)


def total_variation(scan: UInt8) -> UInt8:
    """Chambolle's total variation from scikit-image, at its default weight."""
    from skimage.restoration import denoise_tv_chambolle

    return _bytes(denoise_tv_chambolle(scan.astype(np.float32) / 255, weight=0.1) * 255)


# The rows of a comparison in their order.
FAST: dict[str, Method] = {
    "raw scan": raw,
    "all black": black,
    "fixed levels curve": fixed_curve,
    "destriping and Otsu": destripe_otsu,
}
SLOW: dict[str, Method] = {
    "non-local means": non_local_means,
    "total variation": total_variation,
}


def _bytes(image: object) -> UInt8:
    return np.asarray(np.clip(np.rint(np.asarray(image)), 0, 255), dtype=np.uint8)
