"""Digits and signs cut from simulated paper, labelled: what the reader of pages is trained on."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.paper import Digits, Page, simulate
from dlkit.reading import finder
from dlkit.reading.crops import LABELS, NONE, OTHER, crop, line_heights

_SAME, _NOT_SAME = 0.45, 0.2  # intersection over union: a found box is a sign's, or none's
_OFTEN = ("any", "form", "any", "squared", "any", "desk", "any", "marks")  # kinds of pages in turn
_TIGHT = 0.12  # of the signs: the image ends near them
_BETWEEN = 0.1  # of the signs: beside each of so many a crop that shows none


def paper_crops(
    digits: Digits, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Crops of simulated pages.

    Args:
        digits: to write with.
        count: how many crops.
        seed: of the pages.

    Returns:
        uint8 (count, 32, 32), and int64 (count,), an index into ``LABELS``.
    """
    pixels: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    page = 0
    while len(labels) < count:
        random = np.random.default_rng([seed, page])
        page += 1
        tall = float(np.exp(random.uniform(*np.log([11, 60]))))
        size = (int(tall * random.uniform(9, 14)), int(tall * random.uniform(14, 22)))
        found = simulate(
            random, digits, size=size, tall=tall, touching=float(random.choice([0, 0.1])),
            marks=float(random.choice([0.0, 0.9])),
        )  # fmt: skip
        for one, label in _cut(random, found):
            pixels.append(one)
            labels.append(label)
    return np.stack(pixels[:count]), np.array(labels[:count], np.int64)


def _cut(random: np.random.Generator, page: Page) -> list[tuple[NDArray[np.uint8], int]]:
    grey = np.asarray(cv2.cvtColor(page.image, cv2.COLOR_BGR2GRAY), np.uint8)
    signs = page.signs
    if not signs:
        return []
    boxes = np.array([sign.box for sign in signs], np.float32)
    lines = line_heights(boxes, np.array([sign.is_digit for sign in signs]))
    found = []
    rare = [place for place, sign in enumerate(signs) if not sign.is_digit]
    for place in [*range(len(signs)), *rare]:
        sign = signs[place]
        left, top, width, height = boxes[place].tolist()
        reach = max(width, height, 0.6 * float(lines[place]))
        box = (
            left + random.normal(0, 0.05) * reach, top + random.normal(0, 0.05) * reach,
            width * np.exp(random.normal(0, 0.08)), height * np.exp(random.normal(0, 0.08)),
        )  # fmt: skip
        line = float(lines[place] * np.exp(random.normal(0, 0.08)))
        image = grey
        if random.random() < _TIGHT:
            room = random.uniform(0, 0.3, 4) * reach
            x0, y0 = max(0, int(left - room[0])), max(0, int(top - room[1]))
            x1, y1 = int(left + width + room[2] + 1), int(top + height + room[3] + 1)
            image, box = grey[y0:y1, x0:x1], (box[0] - x0, box[1] - y0, *box[2:])
            line = 0.0 if sign.is_digit else line
        label = sign.text if sign.text in LABELS else OTHER
        found.append((crop(image, box, line), LABELS.index(label)))
        if random.random() < _BETWEEN:
            found.append((_none(random, grey, boxes, place), LABELS.index(NONE)))
    return found


def _none(
    random: np.random.Generator, grey: NDArray[np.uint8], boxes: NDArray[np.float32], place: int
) -> NDArray[np.uint8]:
    """Where no sign is: between two, on one's edge, or anywhere."""
    left, top, width, height = boxes[place].tolist()
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    for _ in range(8):
        if random.random() < 0.6:
            far = random.uniform(0.6, 1.5) * max(width, height)
            angle = random.uniform(0, 2 * np.pi)
            x, y = left + width / 2 + far * np.cos(angle), top + height / 2 + far * np.sin(angle)
        else:
            x, y = random.uniform(0, grey.shape[1]), random.uniform(0, grey.shape[0])
        away = np.abs(middles - [x, y]) / np.maximum(boxes[:, 2:], 0.4 * height)
        if (away.max(axis=1) > 0.55).all():
            break
    size = np.exp(random.normal(0, 0.2, 2)) * [max(width, 0.4 * height), height]
    return crop(grey, (x - size[0] / 2, y - size[1] / 2, size[0], size[1]))


def labelled_crops(
    train: Digits, test: Digits, count: int, seed: int
) -> dict[str, NDArray[np.generic]]:
    """``count`` crops to train on, a tenth as many to test, and the classes, as ``load_labelled``
    takes them from a file."""
    images, labels = paper_crops(train, count, 2 * seed)
    test_images, test_labels = paper_crops(test, max(1, count // 10), 2 * seed + 1)
    return {
        "x_train": images, "y_train": labels, "x_test": test_images, "y_test": test_labels,
        "classes": np.array(LABELS),
    }  # fmt: skip


def found_crops(
    digits: Digits, count: int, seed: int, find: finder.Network
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Crops of simulated pages as a finder cuts them, with what it takes for signs and are none.

    Args:
        find: the finder's network, as ``reading.finder.find`` calls it.

    Returns:
        as ``paper_crops`` does.
    """
    pixels: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    page = 0
    while len(labels) < count:
        random = np.random.default_rng([seed, page])
        kind = _OFTEN[page % len(_OFTEN)]
        page += 1
        made = simulate(random, digits, kind, touching=float(random.choice([0, 0.08])))
        grey = np.asarray(cv2.cvtColor(made.image, cv2.COLOR_BGR2GRAY), np.uint8)
        found = finder.find(grey, find)
        truth = np.array([sign.box for sign in made.signs], np.float32).reshape(-1, 4)
        same = finder.overlap(found[:, :4], truth)
        lines = line_heights(found[:, :4], found[:, 4] > found[:, 5])
        for row, box, line in zip(same, found[:, :4].tolist(), lines.tolist(), strict=True):
            best = int(row.argmax()) if len(row) else -1
            share = float(row[best]) if len(row) else 0.0
            if _NOT_SAME < share < _SAME:
                continue  # nobody can say
            text = made.signs[best].text if share >= _SAME else NONE
            labels.append(LABELS.index(text if text in LABELS else OTHER))
            pixels.append(crop(grey, tuple(box), line))
    return np.stack(pixels[:count]), np.array(labels[:count], np.int64)
