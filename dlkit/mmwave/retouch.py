"""The clean picture, made from a scan the way people make it in an image editor.

A levels curve turns the raw pixel into nearly black or nearly white; where the body is faint they
lift it; a hand-drawn mask removes the background; what is concealed is kept black. The raw noise
makes the edge ragged and stripes stay faintly visible inside, as in real clean pictures.
"""

from __future__ import annotations

import cv2
import numpy as np

from dlkit.mmwave.fields import BoolImage, ByteImage, FloatImage, smooth_field, uniform
from dlkit.mmwave.parameters import Parameters
from dlkit.mmwave.scanner import blur

# Slow maps are computed on a grid this many times coarser.
COARSE = 8

# The levels curve is tabulated in steps of a quarter grey level.
STEPS = 4

# Sigma, in reference pixels, of what counts as "the body here" when people lift faint parts.
NEIGHBOURHOOD = 24.0

# The same for what is so faint that it would be lost.
OWN_LEVEL = 12.0


def _enlarge(field: FloatImage, shape: tuple[int, int]) -> FloatImage:
    """Linear enlargement of a coarse field to (H, W)."""
    return np.asarray(cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))


def _lift(
    rng: np.random.Generator,
    p: Parameters,
    grey: FloatImage,
    body: BoolImage,
    scale: float,
    threshold: float,
) -> FloatImage:
    """How many grey levels the threshold is lowered: float32 (H, W), smooth."""
    height, width = grey.shape
    size = (max(2, width // COARSE), max(2, height // COARSE))
    weight = cv2.resize(body.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    level = cv2.resize(grey * body, size, interpolation=cv2.INTER_AREA)
    sigma = NEIGHBOURHOOD * scale / COARSE
    cover, bare = weight, level
    weight, level = blur(np.asarray(weight), sigma, sigma), blur(np.asarray(level), sigma, sigma)
    level = level / np.maximum(weight, 1e-4)
    faint = np.clip(p.lift_below - level, 0.0, None) * uniform(rng, p.lift_rate)
    lift = np.minimum(faint, uniform(rng, p.lift_ceiling))
    # What is plainly body is kept even where it is faint over a short distance: a flank in shadow.
    near = OWN_LEVEL * scale / COARSE
    own = blur(np.asarray(bare), near, near) / np.maximum(blur(np.asarray(cover), near, near), 1e-4)
    needed = threshold - (own - uniform(rng, p.lift_margin))
    lift = np.maximum(lift, np.minimum(needed, uniform(rng, p.lift_limit))).astype(np.float32)
    # Where no body is near there is nothing to lift.
    lift = blur(lift * np.clip(weight * 20.0, 0.0, 1.0), sigma * 0.5, sigma * 0.5)
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    inside = np.argwhere(weight > 0.2)
    for _ in range(int(rng.poisson(p.dab_count)) if len(inside) else 0):
        y, x = inside[int(rng.integers(len(inside)))]
        radius = uniform(rng, p.dab_radius) * scale / COARSE
        distance = ((columns - x) ** 2 + (rows - y) ** 2) / max(radius, 0.5) ** 2
        lift += np.exp(-0.7 * distance) * np.float32(uniform(rng, p.dab_grey))
    return _enlarge(np.asarray(lift, dtype=np.float32), grey.shape)


def _gaps(
    rng: np.random.Generator,
    p: Parameters,
    grey: FloatImage,
    body: BoolImage,
    scale: float,
    threshold: float,
) -> FloatImage:
    """How many grey levels the threshold rises in narrow gaps between limbs: float32 (H, W)."""
    height, width = body.shape
    step = max(1, round(4 * scale))
    size = (max(2, width // step), max(2, height // step))
    small = cv2.resize(body.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    solid = (small > 127).astype(np.uint8)
    across = max(3, round(p.gap_width * scale / step))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across))
    closed = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, kernel)
    # The opening leaves out the thin rims that closing a coarse outline adds everywhere.
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    gap = cv2.morphologyEx((closed > solid).astype(np.uint8), cv2.MORPH_OPEN, cross)
    sigma = 3.0 * scale / step
    gap = np.minimum(blur(gap.astype(np.float32), sigma, sigma) * np.float32(1.3), 1.0)
    # The gap's own level: the mean of what is not body, nearby.
    free = cv2.resize((~body).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    level = cv2.resize(grey * ~body, size, interpolation=cv2.INTER_AREA)
    free, level = blur(np.asarray(free), sigma, sigma), blur(np.asarray(level), sigma, sigma)
    needed = level / np.maximum(free, 1e-3) + uniform(rng, p.gap_margin) - threshold
    rise = gap * np.clip(needed, 0.0, uniform(rng, p.gap_grey))
    return _enlarge(np.asarray(rise, dtype=np.float32), (height, width))


def _threshold(rng: np.random.Generator, p: Parameters, grey: FloatImage, body: BoolImage) -> float:
    """The raw grey level that becomes 128 in this picture."""
    fixed = uniform(rng, p.threshold_grey)
    thin = (slice(None, None, 4), slice(None, None, 4))
    inside = body[thin]
    if not inside.any() or inside.all():
        return fixed
    bright = float(np.median(grey[thin][inside]))
    dark = float(np.median(grey[thin][~inside]))
    middle = dark + 0.47 * (bright - dark)
    return fixed + uniform(rng, p.threshold_follows) * (middle - fixed)


def retouch(
    rng: np.random.Generator,
    parameters: Parameters,
    grey: FloatImage,
    coverage: FloatImage,
    body: BoolImage,
    concealed: BoolImage,
    hidden: FloatImage,
    scale: float,
) -> ByteImage:
    """The clean picture of a scan: uint8 (H, W).

    `grey` is the scan, 0..255; `coverage` the body's share in each blurred pixel, 0..1; `body` and
    `concealed` are sharp masks; `hidden` is the objects' share in each blurred pixel, 1 where each
    is strongest; `scale` is pixels in a reference pixel.
    """
    p = parameters
    if not body.any():
        return np.zeros(grey.shape, np.uint8)
    shape = (grey.shape[0], grey.shape[1])
    plain = body & ~concealed
    level = _threshold(rng, p, grey, plain)
    lift = _lift(rng, p, grey, plain, scale, level)
    around = blur(concealed.astype(np.float32), 3.0 * scale, 3.0 * scale)
    burn = uniform(rng, p.burn_grey) * np.clip(around * 2.0, 0.0, 1.0)
    threshold = level - lift * (1.0 - 0.5 * np.clip(around * 3, 0, 1)) + burn
    threshold = threshold + _gaps(rng, p, grey, body, scale, level)
    steepness = uniform(rng, p.steepness) * (
        1.0 + uniform(rng, p.lift_steepness) * np.clip(lift, 0.0, None)
    )
    middle = float(np.interp(128.0, p.curve_clean, p.curve_raw))
    position = (grey - threshold) * steepness + middle
    table = np.interp(np.arange(256 * STEPS) / STEPS, p.curve_raw, p.curve_clean)
    index = np.clip(position * STEPS, 0, 256 * STEPS - 1).astype(np.int32)
    clean = table.astype(np.float32)[index]

    away = 1.0 - np.clip(around * 2.0, 0.0, 1.0)
    interior = np.clip((coverage - 0.70) / 0.25, 0.0, 1.0) * away
    clean = 255.0 - (255.0 - clean) * (1.0 + interior * (uniform(rng, p.whitening) - 1.0))
    core = np.clip((coverage - 0.85) / 0.12, 0.0, 1.0) * away
    clean = np.maximum(clean, core * uniform(rng, p.fill_grey))

    uneven = smooth_field(rng, shape, 26.0 * scale, 26.0 * scale)
    bound = uniform(rng, p.mask_coverage) + uniform(rng, p.mask_unevenness) * uneven
    mask = (coverage > np.clip(bound, 0.02, 0.45)).astype(np.float32)
    softness = uniform(rng, p.mask_softness) * scale
    clean *= blur(mask, softness, softness)
    if concealed.any():
        sure = hidden + uniform(rng, p.object_unevenness) * smooth_field(
            rng, shape, 5 * scale, 4 * scale
        )
        # Only what lies surely inside is painted; at the border the curve decides.
        painted = (sure - uniform(rng, p.object_paint)) / p.object_paint_span
        clean *= 1.0 - np.clip(painted, 0.0, 1.0) * (around > 0.01)
    if rng.random() < p.speck_probability:
        count = int(rng.integers(1, 9))
        rows, columns = rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)
        clean[rows, columns] = np.maximum(clean[rows, columns], rng.uniform(8, 70, count))
    return np.asarray(np.clip(np.rint(clean), 0, 255).astype(np.uint8))
