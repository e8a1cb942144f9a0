"""What became of people and concealed objects in a cleaned scan; and SSIM with Wang's settings."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from dlkit.images import UInt8
from dlkit.tasks.denoise.score import PSNR_CAP

HALF = 128  # darker is dark
LEAST_OBJECT = 150  # pixels: smaller dark regions may be buttons

Mask = NDArray[np.bool_]


def ssim_wang(clean: UInt8, restored: UInt8) -> float:
    """Structural similarity with the settings of Wang et al. 2004: Gaussian weights, sigma 1.5."""
    return float(
        structural_similarity(
            clean, restored, data_range=255, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
    )  # fmt: skip


def body_of(clean: UInt8) -> Mask:
    """The person where nobody marked it: what is bright in the clean picture."""
    bright = (clean > HALF).astype(np.uint8)
    bright = np.asarray(cv2.morphologyEx(bright, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    return bright > 0


def psnr_inside(clean: UInt8, restored: UInt8, region: Mask) -> float | None:
    """PSNR over the pixels of a region, bool (H, W); None where it is empty."""
    if not region.any():
        return None
    error = clean[region].astype(np.float64) - restored[region]
    square = float((error**2).mean())
    return PSNR_CAP if square == 0 else min(PSNR_CAP, 10 * float(np.log10(255**2 / square)))


def stripes(clean: UInt8, restored: UInt8, body: Mask) -> float | None:
    """Vertical stripes that are left inside the body, in grey levels; None without a body.

    The error's mean of each column that has at least 60 rows well inside the body, less the running
    mean over 15 columns: its standard deviation.
    """
    inside = _eroded(body, 12)
    rows = inside.sum(axis=0)
    known = rows >= 60
    if known.sum() < 30:
        return None
    error = restored.astype(np.float32) - clean
    means = np.where(known, (error * inside).sum(axis=0) / np.maximum(rows, 1), 0.0)
    weight = cv2.blur(known[None].astype(np.float64), (15, 1))[0]
    smooth = cv2.blur(means[None].astype(np.float64), (15, 1))[0] / np.maximum(weight, 1e-6)
    return float((means - smooth)[known].std())


def objects(restored: UInt8, labels: UInt8, body: Mask) -> list[dict[str, float | None]]:
    """What became of each concealed object.

    Args:
        labels: uint8 (H, W), k where the k-th object is.

    Returns:
        For each: its pixels before the body, their mean grey, and its contrast, the difference to
        the body 5 to 12 pixels around it as a share of 255, or None where no body is around it.
    """
    found: list[dict[str, float | None]] = []
    for number in range(1, int(labels.max()) + 1):
        here = (labels == number) & body
        if not here.any():
            continue
        around = _dilated(here, 12) & ~_dilated(here, 5) & _eroded(body, 5) & (labels == 0)
        grey = float(restored[here].mean())
        near = float(restored[around].mean()) if around.sum() >= 20 else None
        contrast = None if near is None else (near - grey) / 255
        found.append({"pixels": int(here.sum()), "grey": grey, "contrast": contrast})
    return found


def false_object(clean: UInt8, restored: UInt8, body: Mask, width: int = 1) -> bool:
    """Is there a dark region above ``LEAST_OBJECT`` pixels deep inside the body that the clean
    picture does not have? Deep is 12 pixels: nearer, the optics mix in the background.

    Args:
        width: what is narrower, in pixels, does not count: a sliver of a silhouette's edge, or a
            stripe. Odd.
    """
    wrong = (restored < HALF) & (clean >= HALF) & _eroded(body, 12)
    if width > 1:
        wrong = _dilated(_eroded(wrong, width // 2), width // 2)
    _, _, statistics, _ = cv2.connectedComponentsWithStats(wrong.astype(np.uint8), connectivity=4)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    return bool(len(areas) and areas.max() > LEAST_OBJECT)


def _eroded(mask: Mask, pixels: int) -> Mask:
    # Beyond the frame the body goes on: cut feet are not eroded from below.
    return np.asarray(cv2.erode(mask.astype(np.uint8), _disc(pixels)) > 0)


def _dilated(mask: Mask, pixels: int) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disc(pixels)) > 0)


def _disc(pixels: int) -> UInt8:
    size = 2 * pixels + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), dtype=np.uint8)
