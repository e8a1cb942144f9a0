"""What clothing and face add to the body's temperature: belts, seams, collars, folds, spots."""

from __future__ import annotations

import cv2
import numpy as np

from dlkit.mmwave.body import Figure, Point
from dlkit.mmwave.fields import FloatImage, ellipse, fill


def _stroke(
    canvas: FloatImage, points: list[Point], scale: float, thickness: float, kelvin: float
) -> None:
    """Add a line of `thickness` reference pixels through the points, in place."""
    layer = np.zeros(canvas.shape, np.uint8)
    path = np.round(np.array(points) * scale * 16).astype(np.int32)
    cv2.polylines(
        layer, [path], False, (255,), max(1, round(thickness * scale)), cv2.LINE_8, shift=4
    )
    canvas += (layer > 0) * np.float32(kelvin)


def _patch(canvas: FloatImage, outline: FloatImage, scale: float, kelvin: float) -> None:
    """Add `kelvin` inside an outline of reference pixels, in place."""
    layer = np.zeros(canvas.shape, np.uint8)
    fill(layer, outline * np.float32(scale))
    canvas += (layer > 0) * np.float32(kelvin)


def clothing_detail(
    rng: np.random.Generator, figure: Figure, shape: tuple[int, int], scale: float, excess: float
) -> FloatImage:
    """Kelvin to add to the body: float32 (H, W) of the canvas, `scale` canvas pixels a pixel.

    `excess` is the body's excess over its surroundings in kelvin; all depths are shares of it, so
    that a faint body has faint seams. Depths and counts are chosen by eye beside real scans.
    """
    canvas = np.zeros(shape, np.float32)
    tall = figure.height
    head, chest, waist, crotch = figure.head, figure.chest, figure.waist, figure.crotch

    def depth(low: float, high: float) -> float:
        return float(rng.uniform(low, high)) * excess

    tilt = float(rng.normal(0, 0.012)) * tall
    if rng.random() < 0.6:  # belt or waistband, brighter or darker
        row = waist[1] + float(rng.uniform(0.03, 0.085)) * tall
        ends = [(waist[0] - 0.14 * tall, row - tilt), (waist[0], row + 0.006 * tall),
                (waist[0] + 0.14 * tall, row + tilt)]  # fmt: skip
        _stroke(canvas, ends, scale, float(rng.uniform(4, 26)), depth(-0.14, 0.20))
        if rng.random() < 0.5:  # buckle: small, and no concealed object
            _patch(canvas, ellipse(waist[0], row, rng.uniform(3, 7), rng.uniform(2.5, 5), 0, 6),
                   scale, depth(-0.40, -0.08))  # fmt: skip
    if rng.random() < 0.4:  # hem of the shirt: everything below differs a little
        row = waist[1] + float(rng.uniform(0.04, 0.12)) * tall
        canvas[max(0, int(row * scale)) :] += depth(-0.10, 0.10)
    if rng.random() < 0.45:  # collar or neckline
        drop = float(rng.uniform(0.01, 0.09)) * tall
        half = float(rng.uniform(0.025, 0.05)) * tall
        neck = chest[1] - 0.09 * tall
        _stroke(canvas, [(chest[0] - half, neck), (chest[0], neck + drop), (chest[0] + half, neck)],
                scale, float(rng.uniform(3, 11)), depth(-0.12, 0.20))  # fmt: skip
    if rng.random() < 0.35:  # zip or row of buttons
        path = [(chest[0] + float(rng.normal(0, 2)), y)
                for y in np.linspace(chest[1] - 0.06 * tall, waist[1], 4)]  # fmt: skip
        _stroke(canvas, path, scale, float(rng.uniform(2, 5)), depth(-0.18, 0.12))
    if rng.random() < 0.45:  # underwear or the trousers' groin
        half, rise = float(rng.uniform(0.05, 0.1)) * tall, float(rng.uniform(0.03, 0.08)) * tall
        groin = [(crotch[0] - half, crotch[1] - rise), (crotch[0], crotch[1]),
                 (crotch[0] + half, crotch[1] - rise)]  # fmt: skip
        _stroke(canvas, groin, scale, float(rng.uniform(3, 12)), depth(-0.10, 0.22))
    for _ in range(int(rng.integers(0, 4))):  # pockets and patches
        x = waist[0] + float(rng.uniform(-0.09, 0.09)) * tall
        y = float(rng.uniform(chest[1], crotch[1] + 0.08 * tall))
        _patch(canvas, ellipse(x, y, float(rng.uniform(0.02, 0.05)) * tall,
                               float(rng.uniform(0.02, 0.06)) * tall, float(rng.normal(0, 0.2)), 6),
               scale, depth(-0.10, 0.12))  # fmt: skip
    for _ in range(int(rng.integers(2, 10))):  # folds of cloth and shadows of arms
        x = chest[0] + float(rng.uniform(-0.12, 0.12)) * tall
        y = float(rng.uniform(chest[1] - 0.05 * tall, crotch[1] + 0.25 * tall))
        angle, long = float(rng.uniform(0, np.pi)), float(rng.uniform(0.02, 0.07)) * tall
        bow = float(rng.normal(0, 0.25)) * long
        ends = [(x - np.cos(angle) * long, y - np.sin(angle) * long),
                (x + np.sin(angle) * bow, y - np.cos(angle) * bow),
                (x + np.cos(angle) * long, y + np.sin(angle) * long)]  # fmt: skip
        _stroke(canvas, ends, scale, float(rng.uniform(3, 10)), depth(-0.20, 0.15))
    for _ in range(int(rng.poisson(3))):  # buttons, coins, prints: too small to be kept black
        x = chest[0] + float(rng.normal(0, 0.04)) * tall
        y = float(rng.uniform(chest[1] - 0.04 * tall, crotch[1]))
        radius = float(rng.uniform(2.5, 5.5))
        _patch(canvas, ellipse(x, y, radius * float(rng.uniform(1, 1.5)), radius), scale,
               depth(-0.55, 0.2))  # fmt: skip
    if rng.random() < 0.7:  # a face: eyes, nose and mouth
        for x, y, wide, high in ((-0.018, -0.005, 5, 3), (0.018, -0.005, 5, 3),
                                 (0.0, 0.018, 4, 6), (0.0, 0.042, 8, 3)):  # fmt: skip
            if rng.random() < 0.7:
                _patch(canvas, ellipse(head[0] + x * tall, head[1] + y * tall, wide, high), scale,
                       depth(-0.30, 0.06))  # fmt: skip
    return canvas


def clutter(
    rng: np.random.Generator, figure: Figure, shape: tuple[int, int], scale: float,
    excess: float, count: float,
) -> FloatImage:  # fmt: skip
    """Kelvin of what looks like something hidden, and is not; arguments as ``clothing_detail``.

    `count` is the mean number of empty pockets, straps, prints and watches. Depths are chosen.
    """
    canvas = np.zeros(shape, np.float32)
    tall, chest, crotch = figure.height, figure.chest, figure.crotch
    for _ in range(int(rng.poisson(count))):
        depth = float(rng.uniform(-0.26, 0.18)) * excess
        x = chest[0] + float(rng.uniform(-0.12, 0.12)) * tall
        y = float(rng.uniform(chest[1] - 0.05 * tall, crotch[1] + 0.2 * tall))
        kind = int(rng.integers(4))
        if kind == 0:  # an empty pocket: cloth twice, with a seam around it
            outline = ellipse(x, y, float(rng.uniform(0.02, 0.05)) * tall,
                              float(rng.uniform(0.025, 0.06)) * tall,
                              float(rng.normal(0, 0.15)), 8)  # fmt: skip
            _patch(canvas, outline, scale, depth * 0.8)
            ring = [(float(a), float(b)) for a, b in [*outline, outline[0]]]
            _stroke(canvas, ring, scale, float(rng.uniform(2, 4)), depth * 0.6)
        elif kind == 1:  # a strap over a shoulder
            side = float(rng.choice([-1.0, 1.0]))
            ends = [(chest[0] + side * 0.07 * tall, chest[1] - 0.09 * tall),
                    (chest[0] + float(rng.uniform(-0.08, 0.08)) * tall,
                     chest[1] + float(rng.uniform(0.05, 0.25)) * tall)]  # fmt: skip
            _stroke(canvas, ends, scale, float(rng.uniform(5, 16)), depth)
        elif kind == 2:  # a print or a label
            _patch(canvas, ellipse(x, y, float(rng.uniform(5, 22)), float(rng.uniform(5, 18)),
                                   float(rng.uniform(0, 3)), float(rng.uniform(1, 8))),
                   scale, depth * 0.9)  # fmt: skip
        else:  # a watch, a ring of keys: small and dark
            place = figure.spots[int(rng.integers(len(figure.spots)))]
            radius = float(rng.uniform(2.5, 5.5))
            _patch(canvas, ellipse(place[0], place[1], radius * 1.3, radius), scale,
                   float(rng.uniform(-0.55, 0.1)) * excess)  # fmt: skip
    return canvas
