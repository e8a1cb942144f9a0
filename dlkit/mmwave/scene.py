"""The scene in kelvin: background, body with clothing and texture, and concealed objects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dlkit.mmwave.body import Figure, draw_figure
from dlkit.mmwave.clothing import clothing_detail, clutter
from dlkit.mmwave.fields import ByteImage, FloatImage, Points, fill, smooth_field, uniform
from dlkit.mmwave.objects import Concealed, draw_object
from dlkit.mmwave.parameters import Parameters

# Attempts to place one object where enough of it is seen before the body.
ATTEMPTS = 6


@dataclass(frozen=True)
class Scene:
    """What is before the scanner, on a canvas of (H, W) pixels."""

    kelvin: FloatImage
    surroundings: float  # kelvin
    body: ByteImage  # 255 where the person is, else 0
    labels: ByteImage  # k where the k-th object is seen, else 0
    change: FloatImage  # kelvin that objects add or take
    objects: list[Concealed]  # in the order of their labels


def _draw(shape: tuple[int, int], outlines: list[Points], scale: float) -> ByteImage:
    """Union of outlines in reference pixels on a canvas: uint8 0 or 255."""
    mask = np.zeros(shape, np.uint8)
    for outline in outlines:
        fill(mask, outline * np.float32(scale))
    return mask


def _window(outlines: list[Points], scale: float, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the canvas that outlines can touch, with a margin of two pixels."""
    points = np.concatenate(outlines) * scale
    left, top = np.floor(points.min(axis=0)).astype(int) - 2
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + 3
    rows = slice(min(max(top, 0), shape[0]), min(max(bottom, 0), shape[0]))
    return rows, slice(min(max(left, 0), shape[1]), min(max(right, 0), shape[1]))


def _flanks(
    rng: np.random.Generator, p: Parameters, mask: ByteImage, distance: FloatImage, scale: float
) -> FloatImage:
    """What shadowed flanks leave of the trunk's excess: float32 (H, W), 0..1.

    `distance` is from the trunk's edge, in canvas pixels.
    """
    left = np.ones(mask.shape, np.float32)
    height, width = mask.shape
    columns = np.arange(width, dtype=np.float32)[None]
    middle = (mask * columns).sum(axis=1) / np.maximum(mask.sum(axis=1, dtype=np.float32), 1.0)
    rows = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    for side in (-1.0, 1.0):
        if rng.random() >= p.flank_probability:
            continue
        broad, soft = uniform(rng, p.flank_width) * scale, uniform(rng, (1.5, 4.0)) * scale
        begin, end = float(rng.uniform(0.0, 0.4)), float(rng.uniform(0.55, 1.1))
        along = np.clip((rows - begin) / 0.1, 0.0, 1.0) * np.clip((end - rows) / 0.1, 0.0, 1.0)
        band = 1.0 / (1.0 + np.exp(np.clip((distance - broad) / soft, -30.0, 30.0)))
        here = band * along * ((columns - middle[:, None]) * side > 0)
        left *= 1.0 - np.float32(uniform(rng, p.flank_loss)) * here
    return left


def _excess(
    rng: np.random.Generator,
    p: Parameters,
    figure: Figure,
    shape: tuple[int, int],
    scale: float,
) -> tuple[FloatImage, ByteImage, float]:
    """The body's excess over the surroundings in kelvin, its silhouette, and bare skin's excess."""
    skin = uniform(rng, p.skin_excess_kelvin) * uniform(rng, p.skin_emissivity)
    passes = {
        "skin": 1.0,
        "hair": uniform(rng, p.hair_transmission),
        "shirt": uniform(rng, p.shirt_transmission),
        "sleeve": uniform(rng, p.sleeve_transmission),
        "trouser": uniform(rng, p.trouser_transmission),
        "shoe": uniform(rng, p.shoe_transmission),
    }
    rim, depth = uniform(rng, p.rim_loss), uniform(rng, p.rim_depth) * scale
    excess = np.zeros(shape, np.float32)
    body = np.zeros(shape, np.uint8)
    for part in figure.parts:
        window = _window(part.outlines, scale, shape)
        mask = _draw(shape, part.outlines, scale)[window]
        if not mask.any():
            continue
        # A limb drawn over the trunk keeps its darker rim, which shows the arm before the body.
        distance = np.asarray(cv2.distanceTransform(mask, cv2.DIST_L2, 3), dtype=np.float32)
        loss = rim * np.exp(-distance / depth) * (0.75 if part.name == "torso" else 1.0)
        if part.name == "torso":
            loss = 1.0 - (1.0 - loss) * _flanks(rng, p, mask, distance, scale)
        value = skin * passes[part.garment] * (1.0 + float(rng.normal(0.0, 0.025)))
        inside = mask > 0
        excess[window][inside] = (value * (1.0 - loss))[inside]
        body[window][inside] = 255
    detail = clothing_detail(rng, figure, shape, scale, skin)
    if p.clutter:
        detail += clutter(rng, figure, shape, scale, skin, p.clutter)
    for kelvin, extent, stretch in (
        (p.slow_texture_kelvin, p.slow_texture_scale, 1.4),
        (p.fine_texture_kelvin, p.fine_texture_scale, 1.2),
    ):
        length = uniform(rng, extent) * scale
        detail += smooth_field(rng, shape, length, length * stretch) * uniform(rng, kelvin)
    excess += np.maximum(detail, -p.darkest_detail * skin) * (body > 0)
    return np.maximum(excess, 0.0, out=excess), body, skin


def _to_outline(
    rng: np.random.Generator, thing: Concealed, body: ByteImage, scale: float
) -> Concealed:
    """The object with its middle near a point of the body's outline."""
    contours, _ = cv2.findContours(body, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    points = np.concatenate([contour[:, 0] for contour in contours]) / scale
    x, y = points[int(rng.integers(len(points)))] + rng.normal(0, 7, 2)
    corners = np.concatenate(thing.outlines)
    move = np.array([x, y], np.float32) - (corners.min(axis=0) + corners.max(axis=0)) / 2
    outlines = [np.asarray(outline + move, np.float32) for outline in thing.outlines]
    return replace(thing, outlines=outlines, place="outline")


def _place_objects(
    rng: np.random.Generator, p: Parameters, figure: Figure, body: ByteImage, scale: float
) -> tuple[ByteImage, list[Concealed]]:
    """Draw objects that are seen well enough: labels on the canvas and the objects."""
    labels = np.zeros(body.shape, np.uint8)
    objects: list[Concealed] = []
    counts = np.array(p.object_counts)
    for _ in range(int(rng.choice(len(counts), p=counts / counts.sum()))):
        for _ in range(ATTEMPTS):
            thing = draw_object(rng, p, figure)
            if p.outline_share and rng.random() < p.outline_share:
                thing = _to_outline(rng, thing, body, scale)
            mask = _draw((body.shape[0], body.shape[1]), thing.outlines, scale) > 0
            area = int(mask.sum())
            seen = int((mask & (body > 0)).sum())
            apart = not bool((mask & (labels > 0)).any())
            enough = seen >= max(p.object_least_share * area, p.object_least_area * scale**2, 1.0)
            if apart and enough:
                objects.append(thing)
                labels[mask] = len(objects)
                break
    return labels, objects


def draw_scene(
    rng: np.random.Generator, parameters: Parameters, shape: tuple[int, int], scale: float
) -> Scene:
    """Draw one scene on a canvas of `shape` with `scale` canvas pixels in a reference pixel."""
    p = parameters
    height, width = shape
    surroundings = uniform(rng, p.surroundings_kelvin)
    share = np.linspace(0.0, 1.0, height, dtype=np.float32)
    begin = uniform(rng, p.floor_begin)
    ramp = np.clip((share - begin) / (1.0 - begin), 0.0, 1.0)[:, None]
    background = smooth_field(rng, shape, 70 * scale, 90 * scale)
    background *= np.float32(uniform(rng, p.background_texture_kelvin))
    background += uniform(rng, (-0.6, 0.6)) * (share[:, None] - 0.5)
    background -= ramp ** float(rng.uniform(0.9, 1.6)) * uniform(rng, p.floor_drop_kelvin)
    fade = 1.0 - ramp**1.2 * (1.0 - uniform(rng, p.floor_signal))
    labels = np.zeros(shape, np.uint8)
    objects: list[Concealed] = []
    if rng.random() < p.empty_probability:
        kelvin = background + np.float32(surroundings)
        return Scene(
            np.asarray(kelvin, np.float32), surroundings, np.zeros_like(labels), labels,
            np.zeros(shape, np.float32), [],
        )  # fmt: skip
    # In frames of other proportions the person stands in the middle.
    centre = width / scale / 2 + uniform(rng, p.centre_shift)
    top = uniform(rng, p.head_top) + max(0.0, height / scale - 678.0) / 2
    figure = draw_figure(rng, p, centre, top)
    excess, body, _ = _excess(rng, p, figure, shape, scale)
    labels, objects = _place_objects(rng, p, figure, body, scale)
    without = excess.copy()
    for number, thing in enumerate(objects, start=1):
        here = labels == number
        excess[here] *= np.float32(1.0 - thing.contrast)
        # Worn objects bulge; a faint texture and edge of their own.
        excess[here] += np.float32(rng.normal(0.0, 0.15))
    kelvin = background + excess * fade + np.float32(surroundings)
    change = np.asarray((excess - without) * fade, np.float32)
    return Scene(np.asarray(kelvin, np.float32), surroundings, body, labels, change, objects)
