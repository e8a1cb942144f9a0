"""How well digits are read on simulated paper, by kind of paper and pen; and crops of single ones.

    python benchmarks/paper.py                             # the bundled test digits
    python benchmarks/paper.py --data DATA --pages 20 --singles 1000 --crops 2000
    python benchmarks/paper.py --write FOLDER              # also pictures of what was read
    python benchmarks/paper.py --size 1632x1224 --pages 3 --singles 0 --crops 0   # seconds

What is right is said in paper_score.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from paper_score import SAME, Score, add, alike, compare

import dlkit
from dlkit import images
from dlkit.paper import KINDS, PENS, Digits, Sign, camera, simulate
from dlkit.paper.pens import glyph
from dlkit.paper.pens import pen as pen_of
from dlkit.reading.annotate import picture
from dlkit.tasks.recognize import Recognizer
from dlkit.tasks.recognize.datasets import load_labelled

_ACROSS, _DOWN = 12, 6  # isolated digits on a page


def main() -> None:
    """Make, read, compare, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mnist-mini", help="mnist-mini, or a folder of MNIST's")
    parser.add_argument("--part", default="test", help="test or train")
    parser.add_argument("--model", default="digits", help="bundle")
    parser.add_argument("--pages", type=int, default=20, help="of each kind and pen")
    parser.add_argument(
        "--words", type=int, default=0, help="pages with words, of each kind, any pen"
    )
    parser.add_argument("--singles", type=int, default=300, help="photographs of one digit a kind")
    parser.add_argument("--crops", type=int, default=1000, help="crops of each form")
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--pens", nargs="*", default=PENS)
    parser.add_argument("--touching", type=float, default=0.0, help="share of pairs that touch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=size, help="of pages, HEIGHTxWIDTH; else of many sizes")
    parser.add_argument("--write", type=Path, help="folder for pictures of what was read")
    options = parser.parse_args()
    found = load_labelled(options.data)
    digits = Digits(
        getattr(found, f"{options.part}_images"), getattr(found, f"{options.part}_labels")
    )
    model = dlkit.load(options.model)
    total = Score()
    if options.pages:
        print(
            "| paper | pen | digits | right | lines right | lost | marks | as digits | in the text "
            "| in vain | s a page |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|")
    for kind in options.kinds:
        for pen in options.pens if options.pages else ():
            score = pages(model, digits, options.pages, options.seed, kind, pen, options.touching,
                          options.write, options.size)  # fmt: skip
            add(total, score)
            print(
                f"| {kind} | {pen} | {score.digits} | {score.share:.2f} % | {score.whole} of "
                f"{score.lines} | {score.lost} | {score.marks} | {score.taken} | "
                f"{score.said} of {score.signs} | {score.in_vain} | "
                f"{score.seconds / score.images:.2f} |", flush=True
            )  # fmt: skip
    if total.digits:
        print(f"\nAll: {total.share:.2f} % of {total.digits}. Probability 0.9 or more: "
              f"{total.sure}, wrong {total.sure_wrong}; less: {total.unsure}, wrong "
              f"{total.unsure_wrong}.\n")  # fmt: skip
    if options.words:
        print("| paper with words beside digits | in the text | in vain |\n|---|---|---|")
    for kind in options.kinds if options.words else ():
        score = pages(model, digits, options.words, options.seed, kind, "any", words=True)
        print(f"| {kind} | {score.said} of {score.signs} | {score.in_vain} |", flush=True)
    if options.singles:
        print("| photographs of one digit | right | taken for pages |\n|---|---|---|")
    for kind in options.kinds if options.singles else ():
        score = singles(model, digits, options.singles, options.seed, kind, options.write)
        print(f"| {kind} | {score.share:.2f} % | {score.lost} |", flush=True)
    if options.pages:
        print("\n| isolated digits | pen | digits | right | wider than high | right |\n"
              "|---|---|---|---|---|---|")  # fmt: skip
    for name, wide in WIDTHS.items() if options.pages else ():
        for pen in options.pens:
            whole, broad = isolated(model, digits, options.pages, options.seed, pen, wide)
            print(
                f"| {name} | {pen} | {whole.digits} | {whole.share:.2f} % | {broad.digits} | "
                f"{broad.share:.2f} % |", flush=True
            )  # fmt: skip
    if options.crops:
        large = resized(2000, 2000, dark=True)
        score = crops(model, digits, max(1, options.crops // 20), large)
        print(f"\n2,000 x 2,000, dark, {score.digits} digits: {score.share:.2f} %")
        print("\n| crops | as digits | a second | auto |\n|---|---|---|---|")
        for name, form in FORMS.items():
            score = crops(model, digits, options.crops, form)
            each = score.images / score.seconds
            auto = crops(model, digits, options.crops, form, auto=True)
            print(f"| {name} | {score.share:.2f} % | {each:.0f} | {auto.share:.2f} % |", flush=True)


def size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH in pixels."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def pages(
    model: Recognizer,
    digits: Digits,
    count: int,
    seed: int,
    kind: str,
    pen: str = "any",
    touching: float = 0.0,
    write: Path | None = None,
    size: tuple[int, int] | None = None,
    words: bool = False,
) -> Score:
    """Read that many pages of a kind; with words in every second number, where it has lines."""
    score = Score()
    more = {"marks": 0.5, "letters": 0.9, "words": 1.0} if words else {}
    for index in range(count):
        random = np.random.default_rng([seed, index, KINDS.index(kind)])
        made = simulate(random, digits, kind, pen, size=size, touching=touching, **more)
        begun = time.perf_counter()
        page = model.read(made.image)
        score.seconds += time.perf_counter() - begun
        before = score.wrong
        compare(score, made, page)
        if score.wrong - before > score.worst[0]:
            score.worst = (score.wrong - before, index)
        if write:
            name = f"{kind}-{pen}-{index:03d}-{score.wrong - before}.png"
            images.write(write / name, picture(made.image, page, 0.9))
    return score


def isolated(
    model: Recognizer, digits: Digits, count: int, seed: int, pen: str, wide: tuple[float, float]
) -> tuple[Score, Score]:
    """Read pages of digits that stand far from each other.

    Args:
        wide: how many times as wide they are drawn, from and to.

    Returns:
        of all digits, and of those that are wider than high: right is what was read once, and so.
    """
    whole, broad = Score(), Score()
    for index in range(count):
        random = np.random.default_rng([seed, index, 2])
        tall = random.uniform(20, 52)
        sheet = np.zeros((int(1.9 * tall * _DOWN), int(2.6 * tall * _ACROSS)), np.uint8)
        tool, signs = pen_of(random, pen, tall), []
        for row in range(_DOWN):
            for column in range(_ACROSS):
                one = int(random.integers(len(digits.labels)))
                ink = glyph(digits.images[one], tall, tool, random, random.uniform(*wide))
                room = np.array([2.6 * tall - ink.shape[1], 1.9 * tall - ink.shape[0]]).clip(0)
                x, y = (room * random.uniform(0.35, 0.65, 2)).astype(int).tolist()
                x, y = x + int(2.6 * tall * column), y + int(1.9 * tall * row)
                part = sheet[y : y + ink.shape[0], x : x + ink.shape[1]]
                np.maximum(part, ink[: part.shape[0], : part.shape[1]], out=part)
                box = (float(x), float(y), float(ink.shape[1]), float(ink.shape[0]))
                signs.append(Sign(str(int(digits.labels[one])), box))
        dark, paper = random.uniform(0, 70), random.uniform(200, 252)
        flat = paper + (dark - paper) * (sheet / np.float32(255))
        image = camera.photograph(
            random, cv2.merge([flat.astype(np.uint8)] * 3), camera.light(random, flat.shape, 0, 0)
        )
        page = model.read(image)
        same = alike(page, signs) >= SAME
        for place, sign in enumerate(signs):
            read = np.flatnonzero(same[:, place])
            right = len(read) == 1 and page.digits[read[0]].label == sign.text
            for score in (whole, broad)[: 1 + (sign.box[2] > sign.box[3])]:
                score.digits += 1
                score.wrong += not right
        whole.images += 1
    return whole, broad


def singles(
    model: Recognizer, digits: Digits, count: int, seed: int, kind: str, write: Path | None = None
) -> Score:
    """Read photographs of one digit on that kind of paper, cut from pages."""
    score = Score()
    random = np.random.default_rng([seed, KINDS.index(kind), 1])
    while score.images < count:
        made = simulate(random, digits, kind, size=(700, 1000), tall=random.uniform(28, 60))
        chosen = [sign for sign in made.signs if sign.is_digit]
        for place in random.permutation(len(chosen))[:4].tolist():
            sign = chosen[place]
            left, top, width, height = sign.box
            room = random.uniform(0.06, 0.35, 4) * max(width, height)
            x0, y0 = max(0, int(left - room[0])), max(0, int(top - room[1]))
            image = made.image[y0 : int(top + height + room[2]), x0 : int(left + width + room[3])]
            label = model.read(image, "single").text
            score.images += 1
            score.digits += 1
            score.wrong += label != sign.text
            score.lost += not model.read(image).single
            if write and label != sign.text:
                images.write(write / f"single-{kind}-{score.images}-{sign.text}-{label}.png", image)
    return score


def crops(
    model: Recognizer,
    digits: Digits,
    count: int,
    form: Callable[[images.UInt8], images.UInt8],
    auto: bool = False,
) -> Score:
    """Read crops of that many digits: as single digits, together, or each as it looks."""
    made = [form(tight(image)) for image in digits.images[:count]]
    begun = time.perf_counter()
    if auto:
        found = [model.read(image).text for image in made]
    else:
        found = [one.label for one in model.recognize(made)]
    score = Score(images=count, digits=count, seconds=time.perf_counter() - begun)
    score.wrong = sum(one != str(label) for one, label in zip(found, digits.labels, strict=False))
    return score


def tight(image: images.UInt8) -> images.UInt8:
    """A digit cropped to its ink."""
    x, y, width, height = cv2.boundingRect((image > 40).astype(np.uint8))
    return image[y : y + height, x : x + width]


def resized(height: int, width: int, dark: bool = False) -> Callable[[images.UInt8], images.UInt8]:
    """Makes a crop of that size; a width of 0 keeps the aspect."""

    def form(image: images.UInt8) -> images.UInt8:
        wide = width or max(2, round(image.shape[1] * height / image.shape[0]))
        how = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
        large = cv2.resize(image, (wide, height), interpolation=how)
        return np.asarray(255 - large if dark else large, np.uint8)

    return form


def in_64(image: images.UInt8) -> images.UInt8:
    """In the middle of 64 x 64, dark on white."""
    canvas: NDArray[np.uint8] = np.full((64, 64), 255, np.uint8)
    large = 255 - cv2.resize(image, None, fx=2.2, fy=2.2, interpolation=cv2.INTER_CUBIC)
    top, left = (64 - large.shape[0]) // 2, (64 - large.shape[1]) // 2
    canvas[top : top + large.shape[0], left : left + large.shape[1]] = large
    return canvas


WIDTHS = {"as they are": (0.9, 1.1), "drawn 1.2 to 2 times as wide": (1.2, 2.0)}

FORMS: dict[str, Callable[[images.UInt8], images.UInt8]] = {
    "12 x 10, bright on black": resized(12, 10),
    "96 x 72, bright on black": resized(96, 72),
    "80 x 60, dark on white": resized(80, 60, dark=True),
    "12 high, own width": resized(12, 0),
    "64 high, own width, dark": resized(64, 0, dark=True),
    "64 x 64, dark, with room": in_64,
    "8 x 8, bright on black": resized(8, 8),
    "600 high, own width, dark": resized(600, 0, dark=True),
}


if __name__ == "__main__":
    main()
