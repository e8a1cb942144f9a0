"""What a finder finds on simulated paper, labelled: what the reader of pages is trained on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import cv2
import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError
from dlkit.paper import Digits, Page, simulate
from dlkit.processors import children_uninterrupted
from dlkit.reading import colour, finder
from dlkit.reading.crops import LABELS, NONE, OTHER, SIDE, VIEWS, Scales, crop, line_heights

Crop = tuple[NDArray[np.uint8], int]
OpenFinder = Callable[[], finder.Network]

# Intersection over union, from which on what was found is a sign; if it lies in its middle; and
# below which it is none.
_SAME, _SAME_MIDDLE, _NOT_SAME = 0.45, 0.25, 0.15
_MIDDLE = 0.25  # of the sign's size
_LEAST = 0.4  # of a line's height: boxes are compared as if they were at least as wide and high
# of pages in turn
_KINDS = ("any", "form", "marks", "any", "squared", "marks", "desk", "any", "squared")
_WIDE, _WIDE_SHARE = (0.85, 2.0), 0.3  # widths of digits on that share of the pages
_TALL = (10.0, 60.0)  # pixels: heights of digits
_PIXELS = 900_000  # of a page, at most
_ALONE = 12  # photographs of one digit that are cut from a page
_AGAIN = {"/": 3, "1": 1}  # how often these are shown once more; other signs once
_AT_ONCE = 64  # pages that are asked of the processes
_IN_VAIN = 16  # pages in a row on which nothing is found: there is no use in more
_ROOM = (0.0, 0.45)  # of a digit's longer side: what is around it on these


def paper_crops(
    digits: Digits, count: int, seed: int, open_finder: OpenFinder, workers: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Views of what is found on simulated pages, and on photographs of one digit cut from them.

    Args:
        digits: to write with.
        count: how many.
        seed: of the pages, which are the same whatever the count and the workers.
        open_finder: gives the finder's network, as ``reading.finder.find`` takes it.
        workers: processes; 0 is one for each processor, 1 stays in this process.

    Returns:
        uint8 (count, 32, 32, 3), and int64 (count,), an index into ``LABELS``.

    Raises:
        InputError: the finder finds nothing.
    """
    pixels = np.empty((count, SIDE, SIDE, VIEWS), np.uint8)
    labels = np.empty(count, np.int64)
    done = in_vain = 0
    for found in _run(digits, seed, open_finder, workers):
        for one, label in found[: count - done]:
            pixels[done], labels[done] = one, label
            done += 1
        if done == count:
            break
        in_vain = 0 if found else in_vain + 1
        if in_vain == _IN_VAIN:
            raise InputError(
                f"the finder found nothing on {_IN_VAIN} pages in a row", "Train it for longer"
            )
    return pixels, labels


def labelled_crops(
    train: Digits,
    test: Digits,
    count: int,
    seed: int,
    open_finder: OpenFinder,
    workers: int = 1,
) -> dict[str, NDArray[np.generic]]:
    """``count`` crops to train on, a tenth as many to test, and the classes, as ``load_labelled``
    takes them from a file."""
    more = (open_finder, workers)
    images, labels = paper_crops(train, count, 2 * seed, *more)
    test_images, test_labels = paper_crops(test, max(1, count // 10), 2 * seed + 1, *more)
    return {
        "x_train": images, "y_train": labels, "x_test": test_images, "y_test": test_labels,
        "classes": np.array(LABELS),
    }  # fmt: skip


class Pages:
    """By its number, what is found on a page."""

    def __init__(self, digits: Digits, seed: int, find: finder.Network) -> None:
        self.digits, self.seed, self.find = digits, seed, find

    def __call__(self, number: int) -> list[Crop]:
        """Views and labels of one page, and of photographs cut from it."""
        random = np.random.default_rng([self.seed, number])
        tall = float(np.exp(random.uniform(*np.log(_TALL))))
        sides = tall * random.uniform([12, 16], [20, 28])
        sides *= min(1.0, (_PIXELS / sides.prod()) ** 0.5)
        page = simulate(
            random, self.digits, _KINDS[number % len(_KINDS)], size=(int(sides[0]), int(sides[1])),
            tall=tall, touching=float(random.choice([0, 0.08])), letters=0.3,
            wide=_WIDE if random.random() < _WIDE_SHARE else None,
        )  # fmt: skip
        if not page.signs:
            return []
        truth = np.array([sign.box for sign in page.signs], np.float32)
        heights = line_heights(truth, np.array([sign.is_digit for sign in page.signs]))
        grey = colour.channel(page.image)
        boxes, lines = self._found(grey)
        if not len(boxes):
            return []
        crops = _labelled(grey, boxes, lines, page, truth, heights)
        crops += _missed(random, grey, page, truth, heights)
        chosen = [place for place, sign in enumerate(page.signs) if sign.is_digit]
        for place in random.permutation(chosen)[:_ALONE].tolist():
            crops += self._alone(random, page, truth[place], page.signs[place].text)
        return crops

    def _found(self, grey: NDArray[np.uint8]) -> tuple[finder.Float, finder.Float]:
        found = finder.find(grey, self.find)
        return found[:, :4], line_heights(found[:, :4], found[:, 4] > found[:, 5])

    def _alone(
        self, random: np.random.Generator, page: Page, box: finder.Float, label: str
    ) -> list[Crop]:
        """What is found on a photograph of one digit that is that digit."""
        left, top, width, height = box.tolist()
        room = random.uniform(*_ROOM, 4) * max(width, height)
        x0, y0 = max(0, int(left - room[0])), max(0, int(top - room[1]))
        image = page.image[y0 : int(top + height + room[2]), x0 : int(left + width + room[3])]
        if min(image.shape[:2]) < 8:
            return []
        grey = colour.channel(image)
        boxes, lines = self._found(grey)
        if not len(boxes):
            return []
        there = box - np.array([x0, y0, 0, 0], np.float32)
        same = overlap(boxes, there[None], _LEAST * height)[:, 0]
        best = int(same.argmax())
        if not _is(boxes[best], there, float(same[best])):
            return []
        found = crop(Scales(grey), tuple(boxes[best].tolist()), float(lines[best]))
        return [(found, LABELS.index(label))]


def overlap(boxes: finder.Float, truth: finder.Float, least: float) -> finder.Float:
    """Intersection over union of boxes (N, 4) and (M, 4) that are made at least so wide and high:
    a stroke and a box around it that is a little wider share little."""
    both = []
    for some in (boxes, truth):
        more = (least - some[:, 2:]).clip(0)
        both.append(np.hstack([some[:, :2] - more / 2, some[:, 2:] + more]))
    return finder.overlap(both[0], both[1])


def _labelled(
    grey: NDArray[np.uint8],
    boxes: finder.Float,
    lines: finder.Float,
    page: Page,
    truth: finder.Float,
    heights: finder.Float,
) -> list[Crop]:
    """What was found, as far as it is certain what it is."""
    same = overlap(boxes, truth, _LEAST * float(np.median(heights)))
    scales, crops = Scales(grey), []
    for row, box, line in zip(same, boxes, lines.tolist(), strict=True):
        best = int(row.argmax())
        if _is(box, truth[best], float(row[best])):
            text = page.signs[best].text
        elif row[best] < _NOT_SAME:
            text = NONE
        else:
            continue  # nobody can say
        crops.append((crop(scales, tuple(box.tolist()), line), _index(text)))
    return crops


def _is(box: finder.Float, truth: finder.Float, same: float) -> bool:
    """Whether a box is that of a sign of which it covers so much."""
    away = np.abs(box[:2] + box[2:] / 2 - truth[:2] - truth[2:] / 2).max()
    return bool(same >= (_SAME_MIDDLE if away < _MIDDLE * truth[2:].max() else _SAME))


def _missed(
    random: np.random.Generator,
    grey: NDArray[np.uint8],
    page: Page,
    truth: finder.Float,
    heights: finder.Float,
) -> list[Crop]:
    """Signs that are no digits, and strokes, once more, as they may be found another time."""
    scales, crops = Scales(grey), []
    for sign, box, line in zip(page.signs, truth.tolist(), heights.tolist(), strict=True):
        for _ in range(_AGAIN.get(sign.text, int(not sign.is_digit))):
            reach = max(box[2], box[3], 0.4 * line)
            shift, scale = random.normal(0, 0.07, 2) * reach, np.exp(random.normal(0, 0.12, 2))
            left, top, width, height = box
            moved = (left + shift[0], top + shift[1], width * scale[0], height * scale[1])
            high = line * np.exp(random.normal(0, 0.08))
            crops.append((crop(scales, moved, high), _index(sign.text)))
    return crops


def _index(text: str) -> int:
    return LABELS.index(text if text in LABELS else OTHER)


def _run(digits: Digits, seed: int, open_finder: OpenFinder, workers: int) -> Iterator[list[Crop]]:
    if workers == 1:
        yield from map(Pages(digits, seed, open_finder()), itertools.count())
        return
    with ProcessPoolExecutor(
        workers or None, get_context("spawn"), _begin, (digits, seed, open_finder)
    ) as pool:
        for first in itertools.count(0, _AT_ONCE):
            with children_uninterrupted():
                pages = pool.map(_page, range(first, first + _AT_ONCE), chunksize=4)
            yield from pages


_pages: list[Pages] = []  # of this process


def _begin(digits: Digits, seed: int, open_finder: OpenFinder) -> None:
    cv2.setNumThreads(1)
    _pages[:] = [Pages(digits, seed, open_finder())]


def _page(number: int) -> list[Crop]:
    return _pages[0](number)
