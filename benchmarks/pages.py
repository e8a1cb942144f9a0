"""How many digits are read right on made pages and in made photographs of single digits.

    python benchmarks/pages.py                             # the bundled test digits
    python benchmarks/pages.py --data DATA --model BUNDLE --pages 100 --singles 2000
    python benchmarks/pages.py --write FOLDER              # also pictures of what was read

Pages: several lines, uneven light, rotation up to 10 degrees, noise, JPEG, touching digits. What is
read is compared with what is written by edit distance, line breaks included: what is missed, wrong,
too much, in the wrong order or in the wrong line counts against it.
"""

from __future__ import annotations

import argparse
import difflib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import page_maker

import dlkit
from dlkit import images
from dlkit.reading.annotate import picture
from dlkit.tasks.recognize import Recognizer

MINI = Path(dlkit.__file__).parent / "tasks" / "recognize" / "mnist_mini"


@dataclass
class Score:
    """How a set was read.

    Attributes:
        digits: that are written.
        wrong: edits from what was read to what is written.
        lines, whole: that are written; of them read right, with their spaces.
        other: photographs of one digit that ``auto`` took for a page.
    """

    images: int = 0
    digits: int = 0
    wrong: int = 0
    touching: int = 0
    lines: int = 0
    whole: int = 0
    other: int = 0
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """Of digits that are right, in percent."""
        return 100 * (1 - self.wrong / self.digits)


def main() -> None:
    """Make, read, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=MINI, help="folder with MNIST's files")
    parser.add_argument("--part", default="t10k", help="t10k or train")
    parser.add_argument("--model", default="digits", help="bundle")
    parser.add_argument("--pages", type=int, default=30)
    parser.add_argument("--singles", type=int, default=1000)
    parser.add_argument("--touching", type=float, default=0.06, help="share of pairs that touch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="folder for pictures of what was read")
    options = parser.parse_args()
    digits = page_maker.load(options.data, options.part)
    model = dlkit.load(options.model)
    page = pages(model, digits, options.pages, options.seed, options.touching, options.write)
    single = singles(model, digits, options.singles, options.seed, options.write)
    print("| set | digits | right | seconds an image |\n|---|---|---|---|")
    for name, score in (("pages", page), ("single digits", single)):
        if score.images:
            each = score.seconds / score.images
            print(f"| {score.images} {name} | {score.digits} | {score.share:.2f} % | {each:.2f} |")
    if page.images:
        print(f"\nPages: {page.touching} pairs of digits touch; {page.whole} of {page.lines} lines "
              "are right to the last digit and space.")  # fmt: skip
    if single.images:
        print(f"Single digits: --mode auto takes {single.other} for pages.")


def pages(
    model: Recognizer,
    digits: page_maker.Digits,
    count: int,
    seed: int,
    touching: float,
    write: Path | None = None,
) -> Score:
    """Read that many pages."""
    random, score = np.random.default_rng(seed), Score()
    for index in range(count):
        made = page_maker.make_page(digits, random, touching)
        begun = time.perf_counter()
        page = model.read(made.image, "page")
        score.seconds += time.perf_counter() - begun
        written, read = "\n".join(made.lines).replace(" ", ""), page.text.replace(" ", "")
        score.images += 1
        score.digits += sum(map(str.isdigit, written))
        score.wrong += edits(written, read)
        score.touching += made.touching
        score.lines += len(made.lines)
        same = difflib.SequenceMatcher(None, made.lines, [line.text for line in page.lines], False)
        score.whole += sum(block.size for block in same.get_matching_blocks())
        if write:
            images.write(write / f"page-{index:03d}.png", picture(made.image, page, 0.9))
    return score


def singles(
    model: Recognizer,
    digits: page_maker.Digits,
    count: int,
    seed: int,
    write: Path | None = None,
) -> Score:
    """Read photographs of that many different digits."""
    random, score = np.random.default_rng(seed), Score()
    for index in random.permutation(len(digits.images))[:count].tolist():
        image, label = page_maker.make_single(digits.images[index], random), digits.labels[index]
        begun = time.perf_counter()
        page = model.read(image, "single")
        score.seconds += time.perf_counter() - begun
        score.images += 1
        score.digits += 1
        score.wrong += page.text != str(label)
        score.other += not model.read(image).single
        if write:
            name = "right" if page.text == str(label) else "wrong"
            images.write(write / f"{name}-{label}-{index:05d}.png", picture(image, page, 0.9))
    return score


def edits(written: Sequence[str], read: Sequence[str]) -> int:
    """The least number of insertions, deletions and replacements (Levenshtein)."""
    before = list(range(len(read) + 1))
    for row, letter in enumerate(written, 1):
        now = [row]
        for column, other in enumerate(read, 1):
            same = before[column - 1] + (letter != other)
            now.append(min(before[column] + 1, now[-1] + 1, same))
        before = now
    return before[-1]


if __name__ == "__main__":
    main()
