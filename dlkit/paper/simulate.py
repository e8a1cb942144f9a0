"""A page of a kind: a sheet that is printed, written on, laid somewhere and photographed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.paper import camera, rules
from dlkit.paper.page import Digits, Float, Line, Page, Random, Sign, UInt8
from dlkit.paper.pens import PENS, pen
from dlkit.paper.writing import Hull, Row, Writer

KINDS = ("plain", "ruled", "margin", "squared", "boxes", "form", "desk", "shadow", "marks")
_CHALK = 0.5  # of what is bright on dark, in ``any``: a board, not a negative


def simulate(
    random: Random,
    digits: Digits,
    kind: str = "any",
    tool: str = "any",
    size: tuple[int, int] | None = None,
    tall: float | None = None,
    touching: float = 0.0,
    marks: float | None = None,
    letters: float = 0.1,
    words: float = 0.0,
    wide: tuple[float, float] | None = None,
) -> Page:
    """A page that follows from the random generator alone.

    Args:
        random: numpy's generator; its state says which page it is.
        kind: one of ``KINDS``, or ``any``: everything mixed.
        tool: one of ``PENS``, or ``any``.
        size: of the sheet: height and width in pixels.
        tall: height of the digits in pixels.
        touching: share of neighbouring digits that touch.
        marks: share of the numbers that have other signs in or beside them; by default the kind's.
        letters: of these, the share with a letter, a word or a scribble; below 1.
        words: of these, the share that are words, such as units.
        wide: how many times as wide digits are drawn, from and to, where no boxes are printed.
    """
    mixed = kind == "any"
    pen_name = tool if tool != "any" else str(random.choice(PENS, p=[0.4, 0.35, 0.25]))
    height, width = size or (int(random.integers(600, 1000)), int(random.integers(800, 1400)))
    tall = tall or random.uniform(20, 52)
    printed = (
        str(random.choice(["plain", "ruled", "margin", "squared", "boxes", "form"],
                          p=[0.2, 0.15, 0.12, 0.2, 0.2, 0.13]))
        if mixed else kind
    )  # fmt: skip
    if marks is None:
        marks = 0.7 if kind == "marks" else (float(random.choice([0, 0.6])) if mixed else 0.0)
    on_desk = kind == "desk" or (mixed and random.random() < 0.3)
    writer = Writer(
        digits, random, np.zeros((height, width), np.uint8), pen(random, pen_name, tall), tall,
        marks=marks,
        letters=letters,
        words=words,
        touching=touching,
        wide=_widths(random, mixed, None if printed in ("boxes", "form") else wide),
        sparse=mixed and random.random() < 0.2,
    )  # fmt: skip
    paper, ink = _colours(random, mixed)
    layers = [
        rules.blank((height, width), rules.colour(random, 0.15 if printed != "boxes" else 0.5)),
        rules.blank((height, width), tuple(np.clip(random.uniform(10, 110) + np.zeros(3), 0, 255))),
        rules.blank((height, width), rules.colour(random, 0.1)),
    ]
    degrees = 0.0 if on_desk else random.choice([0.0, random.uniform(0, 9)])
    rows = _write(writer, layers, printed, degrees)
    if mixed and printed != "margin" and random.random() < 0.2:
        rules.margin(layers[2], random, random.uniform(0.01, 0.05) * width)
    sheet = _composed(paper, [*layers, rules.Printed(writer.ink, ink)])
    matrix, shown = (
        camera.lying(random, (height, width)) if on_desk
        else camera.turned(random, (height, width), degrees)
    )  # fmt: skip
    if on_desk:
        canvas = camera.desk(random, shown)
        camera.things(random, canvas)
        cv2.warpPerspective(
            sheet, matrix, shown[::-1], dst=canvas, flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )  # fmt: skip
        sheet = canvas
    elif degrees:
        sheet = np.asarray(cv2.warpPerspective(
            sheet, matrix, shown[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ), np.uint8)  # fmt: skip
    shadow = 0.9 if kind == "shadow" else (0.35 if mixed else 0.0)
    lit = camera.light(random, shown, shadow, 0.3 if mixed or on_desk else 0.0)
    image = camera.photograph(random, sheet, lit)
    if mixed and random.random() < 0.12:
        image = np.asarray(255 - image, np.uint8)
    lines = tuple(Line(row.text, _signs(row.hulls, matrix)) for row in rows if row.hulls)
    return Page(image, lines, kind, pen_name, sum(row.touching for row in rows))


def _widths(random: Random, mixed: bool, wide: tuple[float, float] | None) -> tuple[float, float]:
    usual = (0.8, 1.5) if mixed and random.random() < 0.3 else (0.85, 1.15)
    return wide or usual


def _write(writer: Writer, layers: list[rules.Printed], printed: str, degrees: float) -> list[Row]:
    """Print the rules of that kind, and write between them."""
    random, tall = writer.random, writer.tall
    height, width = writer.ink.shape
    slope = float(np.sin(np.radians(degrees)))
    # what rotates about the middle must stay on the sheet
    left = 18 + height / 2 * slope + random.uniform(0, 0.08) * width
    top = 14 + width / 2 * slope + random.uniform(0, 0.4) * tall
    right, bottom = width - 14 - height / 2 * slope, height - 10 - width / 2 * slope
    pitch = tall * random.uniform(1.5, 2.6)
    if printed == "squared":
        rules.squared(layers[0], random, max(9.0, tall * random.uniform(0.45, 1.4)))
    elif printed == "ruled":
        rules.ruled(layers[0], random, top + tall * random.uniform(0.9, 1.1), pitch)
    elif printed == "margin":
        rules.margin(layers[2], random, left - random.uniform(0.1, 0.6) * tall - 4)
    elif printed in ("boxes", "form"):
        return _fill(writer, layers, (left, right, top, bottom), printed == "form")
    if writer.sparse:
        return _sparse(writer, (left, right, top, bottom))
    rows: list[Row] = []
    while top + 1.25 * tall < bottom and len(rows) < 14:
        rows.append(writer.line(left, right, top))
        top += pitch
    return rows


def _sparse(writer: Writer, area: tuple[float, float, float, float]) -> list[Row]:
    """A few signs anywhere."""
    random, tall = writer.random, writer.tall
    left, right, top, bottom = area
    rows = []
    for _ in range(int(random.integers(1, 3))):
        y = random.uniform(top, max(top, min(bottom, top + 0.6 * (bottom - top)) - 1.3 * tall))
        x = random.uniform(left, max(left, right - 2 * tall))
        rows.append(writer.line(x, min(right, x + tall * random.uniform(1.3, 4)), y))
        top = y + 1.5 * tall
        if top + 1.3 * tall > bottom:
            break
    return rows


def _fill(
    writer: Writer,
    layers: list[rules.Printed],
    area: tuple[float, float, float, float],
    form: bool,
) -> list[Row]:
    """A form: words, and rows of boxes, or lines, to write in."""
    random, tall = writer.random, writer.tall
    left, right, top, bottom = area
    wide, high = tall * random.uniform(1.25, 2.2), tall * random.uniform(1.3, 2.0)
    apart = random.choice([0.0, random.uniform(0.1, 0.5) * tall])
    pitch = high + tall * random.uniform(0.25, 1.2)
    thick = random.uniform(0.8, 3.2)
    boxed = not form or random.random() < 0.7
    rows: list[Row] = []
    while top + max(high, 1.2 * tall) < bottom and len(rows) < 14:
        x = left
        if form and random.random() < 0.8:
            x = rules.words(
                layers[1], random, left, top + 0.7 * high, tall * random.uniform(0.4, 0.7)
            )
            x += 0.6 * tall
        if not boxed:
            rules.under(layers[0], x, right, top + 1.05 * tall, thick)
            rows.append(writer.line(x + 3, right, top))
            top += pitch + 0.2 * tall
            continue
        cells = int(random.integers(3, 14))
        text, hulls = "", []
        for _ in range(cells):
            if x + wide > right:
                break
            rules.box(layers[0], x, top, wide, high, thick)
            if text or random.random() < 0.95:
                hulls.append(writer.cell(x, top, wide, high, letter := writer.digit()))
                text += letter
            x += wide + apart
        rows.append(Row(text, hulls, 0))
        top += pitch
    return rows


def _colours(random: Random, mixed: bool) -> tuple[Float, tuple[float, float, float]]:
    """Of the paper and of the ink, BGR, 0 to 255."""
    paper = random.uniform(200, 252) + random.normal(0, 4, 3)
    if mixed and random.random() < 0.35:
        paper = random.uniform(120, 240) - random.uniform(0, 60, 3)
    ink = random.uniform(0, 70) + random.normal(0, 6, 3)
    if random.random() < 0.5:  # blue, red, green
        ink[int(random.choice(3, p=[0.7, 0.1, 0.2]))] += random.uniform(40, 130)
    if mixed and random.random() < 0.3:  # a pencil
        ink = ink + (paper - ink) * random.uniform(0.2, 0.65)
    return paper.astype(np.float32).clip(0, 255), tuple(ink.clip(0, 255))


def _composed(paper: Float, layers: list[rules.Printed]) -> UInt8:
    """Layers on paper, one after the other; uint8 (H, W, 3)."""
    planes = [np.full(layers[0].cover.shape, value, np.float32) for value in paper]
    for layer in layers:
        if not layer.cover.any():
            continue
        share = layer.cover * np.float32(1 / 255)
        for plane, value in zip(planes, layer.colour, strict=True):
            plane += share * (np.float32(value) - plane)
    return np.asarray(cv2.convertScaleAbs(cv2.merge(planes)), np.uint8)


def _signs(hulls: list[Hull], matrix: NDArray[np.float64]) -> tuple[Sign, ...]:
    found = []
    for hull in hulls:
        points = cv2.perspectiveTransform(hull.points[None], matrix)[0]
        low, high = points.min(axis=0), points.max(axis=0) + 1
        found.append(Sign(hull.text, (*low.tolist(), *(high - low).tolist())))
    return tuple(found)
