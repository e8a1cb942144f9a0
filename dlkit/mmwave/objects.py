"""Concealed objects: outlines in centimetres by kind, and where on the person they are worn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlkit.mmwave.body import Figure
from dlkit.mmwave.fields import Points, ellipse, placed, uniform
from dlkit.mmwave.parameters import Parameters

# Height of the standing person that gives the pixels in a centimetre. Mean adult.
PERSON_CENTIMETRES = 172.0

# Kinds whose surface is metal; all others are dielectrics.
METAL = frozenset({"pistol", "knife", "bar", "tool", "grenade"})

# Relative frequencies of the kinds.
KINDS: tuple[tuple[str, float], ...] = (
    ("pistol", 3.0),
    ("knife", 2.0),
    ("bar", 1.5),
    ("tool", 1.0),
    ("grenade", 1.0),
    ("phone", 2.0),
    ("box", 2.0),
    ("bottle", 1.5),
    ("powder bag", 2.0),
)

# Kinds that detectors meet besides, all alike often.
FURTHER_KINDS = ("plate", "disc", "package", "cutter", "pipe")


@dataclass
class Concealed:
    """One object on the person."""

    kind: str
    outlines: list[Points]  # in reference pixels
    # Share of the way from the body's temperature to the surroundings'; below 0 it is brighter.
    contrast: float
    place: str  # trunk, limb or outline


def _rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Corners of a rectangle."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32)


def outline(rng: np.random.Generator, kind: str) -> list[Points]:
    """Outlines of one object in centimetres about its own middle."""
    if kind == "pistol":
        barrel, thick = rng.uniform(13.0, 21.0), rng.uniform(3.2, 4.6)
        grip, lean = rng.uniform(7.5, 11.5), rng.uniform(0.0, 4.5)
        slide = _rectangle(-barrel / 2, -thick, barrel / 2, 0.3)
        handle = np.array([[barrel / 2 - 5.0, -0.5], [barrel / 2 - 0.5, -0.5],
                           [barrel / 2 + lean, grip], [barrel / 2 + lean - 4.3, grip]])  # fmt: skip
        return [slide, handle.astype(np.float32)]
    if kind == "knife":
        blade, broad = rng.uniform(9.0, 21.0), rng.uniform(2.8, 4.6)
        handle_long = rng.uniform(8.0, 12.0)
        point = np.array([[0, -broad / 2], [blade * 0.7, -broad / 2], [blade, broad * 0.2],
                          [blade * 0.8, broad / 2], [0, broad / 2]])  # fmt: skip
        return [point.astype(np.float32), _rectangle(-handle_long, -1.7, 0.4, 1.7)]
    if kind == "bar":
        long, broad = rng.uniform(12.0, 30.0), rng.uniform(3.0, 6.0)
        return [_rectangle(-long / 2, -broad / 2, long / 2, broad / 2)]
    if kind == "tool":  # hammer, spanner: a shaft with a head
        long, broad, head = rng.uniform(16, 28), rng.uniform(2.6, 3.8), rng.uniform(8, 13)
        return [_rectangle(-long / 2, -broad / 2, long / 2, broad / 2),
                _rectangle(long / 2 - 4.5, -head / 2, long / 2, head / 2)]  # fmt: skip
    if kind == "grenade":
        half = rng.uniform(2.8, 4.2)
        return [ellipse(0, 0, half, half * rng.uniform(1.15, 1.5)),
                _rectangle(-1.6, -half * 1.9, 1.6, -half * 0.8)]  # fmt: skip
    if kind == "phone":
        return [ellipse(0, 0, rng.uniform(3.2, 4.4), rng.uniform(6.0, 8.5), 0.0, 8)]
    if kind == "box":
        half_long, half_broad = rng.uniform(3.5, 8.5), rng.uniform(2.3, 5.5)
        return [ellipse(0, 0, half_long, half_broad, 0.0, rng.uniform(5, 12))]
    if kind == "bottle":
        half, long = rng.uniform(2.8, 4.3), rng.uniform(12.0, 19.0)
        return [ellipse(0, 0, half, long / 2, 0.0, 6),
                _rectangle(-1.4, -long / 2 - rng.uniform(2.5, 5), 1.4, -long / 2 + 1)]  # fmt: skip
    if kind == "plate":
        return [ellipse(0, 0, rng.uniform(7.0, 12.0), rng.uniform(9.0, 14.0), 0.0, 8)]
    if kind == "disc":
        half = rng.uniform(3.0, 7.0)
        return [ellipse(0, 0, half, half * rng.uniform(0.8, 1.0))]
    if kind == "package":  # any polygon of five to eight corners
        turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(5, 9))))
        reach = rng.uniform(3.5, 9.0, len(turn))
        return [np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1).astype(np.float32)]
    if kind == "cutter":
        long, broad = rng.uniform(12.0, 18.0), rng.uniform(1.8, 2.8)
        return [_rectangle(-long / 2, -broad / 2, long / 2, broad / 2),
                ellipse(-long / 2 - 2.0, 0, 3.2, rng.uniform(2.6, 4.4))]  # fmt: skip
    if kind == "pipe":  # bent once
        one, other, broad = rng.uniform(9, 20), rng.uniform(5, 14), rng.uniform(2.8, 4.5)
        return [_rectangle(-one, -broad / 2, broad / 2, broad / 2),
                _rectangle(-broad / 2, -broad / 2, broad / 2, other)]  # fmt: skip
    # Powder bag: a wobbling blob.
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = rng.uniform(3.8, 7.8) * np.ones(24)
    for wave in (2, 3, 4):
        radius *= 1 + rng.uniform(0.0, 0.22) / (wave - 1) * np.cos(
            wave * turn + rng.uniform(0, 6.3)
        )
    blob = np.stack([radius * np.cos(turn), radius * np.sin(turn) * rng.uniform(0.6, 1.0)], axis=1)
    return [blob.astype(np.float32)]


def draw_object(rng: np.random.Generator, parameters: Parameters, figure: Figure) -> Concealed:
    """One object somewhere on the person, turned at random."""
    weights = np.array([weight for _, weight in KINDS])
    kind = KINDS[int(rng.choice(len(KINDS), p=weights / weights.sum()))][0]
    if parameters.further_kinds and rng.random() < parameters.further_kinds:
        kind = str(rng.choice(FURTHER_KINDS))
    spot = int(rng.integers(len(figure.spots)))
    x, y, reach = figure.spots[spot]
    x += float(rng.uniform(-1, 1)) * reach
    y += float(rng.uniform(-1, 1)) * min(reach, 0.05 * figure.height)
    angle = float(rng.uniform(-np.pi, np.pi))
    if rng.random() < 0.4:  # worn upright or level
        angle = float(rng.choice([0.0, np.pi / 2, np.pi])) + float(rng.normal(0, 0.12))
    scale = figure.height / PERSON_CENTIMETRES * uniform(rng, parameters.object_scale)
    mirror = np.array([1.0 if rng.random() < 0.5 else -1.0, 1.0])
    outlines = [placed(shape * mirror * scale, x, y, angle) for shape in outline(rng, kind)]
    bounds = parameters.metal_contrast if kind in METAL else parameters.dielectric_contrast
    if parameters.faint_share or parameters.bright_share:
        other = rng.random()
        if other < parameters.faint_share:
            bounds = parameters.faint_contrast
        elif other > 1 - parameters.bright_share:
            bounds = parameters.bright_contrast
    place = "limb" if spot < figure.limb_spots else "trunk"
    return Concealed(kind, outlines, uniform(rng, bounds), place)
