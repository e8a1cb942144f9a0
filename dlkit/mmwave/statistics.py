"""What describes a scan as a whole: the curves that a simulator is judged by beside real scans."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.images import UInt8

Curve = NDArray[np.float64]

# Pixels to both sides of the silhouette's edge, and lags of the correlations.
REACH = 24
LAGS = 16

# Rows that hold background beside a person, as a share of the height: above the floor.
_UPPER = 300 / 678


def describe(scan: UInt8, body: NDArray[np.bool_]) -> dict[str, Curve]:
    """Curves of one scan, uint8 (H, W) of about 678 x 384, with the person's mask, bool (H, W).

    Returns:
        histogram: share of the pixels in 32 bins of 8 grey levels.
        background: median grey of 12 equal bands of rows, far from the body; NaN where there is
            none.
        edge: mean grey at -`REACH` ... `REACH` pixels from the silhouette, inside positive.
        column_spectrum: amplitude, grey levels, of the column means of the upper background at
            1 ... 60 cycles in the scan's width.
        column_correlation: of the column means, less their running mean over 31 columns, at lags 0
            ... `LAGS` - 1.
        noise_across, noise_down: correlation of the upper background's noise, stripes taken off, at
            the same lags in pixels.
    """
    image = scan.astype(np.float32)
    inside = cv2.distanceTransform(body.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform((~body).astype(np.uint8), cv2.DIST_L2, 5)
    far = outside > REACH
    histogram = np.bincount(scan.ravel() // 8, minlength=32) / scan.size
    bands = np.array_split(np.arange(scan.shape[0]), 12)
    background = [np.median(image[rows][far[rows]]) if far[rows].any() else np.nan
                  for rows in bands]  # fmt: skip
    place = np.where(body, inside, 1 - outside)
    edge = [image[np.abs(place - at) < 0.75].mean() if (np.abs(place - at) < 0.75).any() else np.nan
            for at in range(-REACH, REACH + 1)]  # fmt: skip

    upper = slice(0, round(scan.shape[0] * _UPPER))
    weight = far[upper]
    rows = weight.sum(axis=0)
    known = rows > 60
    means = np.where(known, (image[upper] * weight).sum(axis=0) / np.maximum(rows, 1), np.nan)
    kept = means[known]
    if len(kept) < 100:  # hardly any background: nothing to say about stripes
        nothing = np.full(LAGS, np.nan)
        spectrum, column = np.full(60, np.nan), nothing
        across, down = nothing, nothing
    else:
        level = kept - kept.mean()
        window = np.hanning(len(level))
        amplitude = 2 * np.abs(np.fft.rfft(level * window)) / window.sum()
        cycles = np.arange(len(amplitude)) * scan.shape[1] / len(level)
        spectrum = np.interp(np.arange(1, 61), cycles, amplitude)
        column = _correlation((kept - cv2.blur(kept[None], (31, 1))[0])[None])
        rest = image[upper] - np.nan_to_num(means)[None].astype(np.float32)
        rest = rest - cv2.GaussianBlur(rest, (0, 0), 12)
        usable = weight & known[None]
        across = _masked_correlation(rest, usable)
        down = _masked_correlation(rest.T, usable.T)
    return {
        "histogram": histogram,
        "background": np.array(background, dtype=np.float64),
        "edge": np.array(edge, dtype=np.float64),
        "column_spectrum": np.asarray(spectrum, dtype=np.float64),
        "column_correlation": column,
        "noise_across": across,
        "noise_down": down,
    }


def _correlation(lines: NDArray[np.float64]) -> Curve:
    power = (lines**2).mean()
    return np.array(
        [(lines[:, lag:] * lines[:, : lines.shape[1] - lag]).mean() / power for lag in range(LAGS)]
    )


def _masked_correlation(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> Curve:
    power = float((image[mask] ** 2).mean())
    found = []
    for lag in range(LAGS):
        both = mask[:, lag:] & mask[:, : mask.shape[1] - lag]
        product = image[:, lag:] * image[:, : image.shape[1] - lag]
        found.append(float(product[both].mean()) / power if both.any() else np.nan)
    return np.array(found)
