"""Simulated paper: the same page for the same seed, and the truth is where the ink is."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import BundleError, InputError, UsageError
from dlkit.images import UInt8
from dlkit.paper import KINDS, PENS, Digits, simulate
from dlkit.paper.strokes import strokes, thin
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.tasks.recognize.paper_crops import paper_crops
from dlkit.training.find.crops import crops

from .long import long_but


@pytest.fixture(scope="module")
def digits() -> Digits:
    found = load_labelled("mnist-mini")
    return Digits(found.test_images, found.test_labels)


@pytest.mark.parametrize("pen", long_but(["thin"], PENS))
@pytest.mark.parametrize("kind", [*KINDS, "any"])
def test_every_kind_of_page(kind: str, pen: str, digits: Digits) -> None:
    page, again = (
        simulate(np.random.default_rng(5), digits, kind, pen, size=(420, 640), tall=30)
        for _ in range(2)
    )
    assert np.array_equal(page.image, again.image)
    assert page.lines == again.lines
    assert page.lines
    height, width = page.image.shape[:2]
    for line in page.lines:
        assert line.text.replace(" ", "") == "".join(sign.text for sign in line.signs)
        assert [sign.box[0] for sign in line.signs] == sorted(sign.box[0] for sign in line.signs)
        for sign in line.signs:
            left, top, wide, high = sign.box
            assert left > -5
            assert top > -5
            assert left + wide < width + 5
            assert top + high < height + 5


@pytest.mark.parametrize("kind", ["plain", "desk"])
def test_boxes_are_around_the_ink(kind: str, digits: Digits) -> None:
    """The middle of a box is darker than the strip around it."""
    page = simulate(np.random.default_rng(2), digits, kind, "marker", size=(500, 700), tall=40)
    grey = cv2.cvtColor(page.image, cv2.COLOR_BGR2GRAY).astype(float)
    for sign in page.signs:
        x, y, wide, high = (round(value) for value in sign.box)
        inside = grey[max(y, 0) : y + high, max(x, 0) : x + wide]
        above = grey[max(y - 5, 0) : max(y - 2, 1), max(x, 0) : x + wide]
        assert np.percentile(inside, 10) < np.median(above) - 20


def test_middle_lines_are_thin_and_whole(digits: Digits) -> None:
    for image in digits.images[:50]:
        mask = (image > 90).astype(np.uint8)
        worn = thin(mask)
        assert worn.sum() < mask.sum()
        assert (worn <= mask).all()
        parts = [cv2.connectedComponents(one, connectivity=8)[0] for one in (mask, worn)]
        assert parts[0] == parts[1]  # nothing breaks, nothing goes
        found = strokes(image)
        assert found.edges.max(initial=0) < len(found.points)


def test_pages_as_files(tmp_path: Path, digits: Digits) -> None:
    out = tmp_path / "pages"
    options = ["--kind", "boxes", "--pen", "thin", "--count", "2", "--seed", "7"]
    done = CliRunner().invoke(app, ["simulate", "pages", "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    truth = json.loads((out / "pages.json").read_text())
    assert [entry["file"] for entry in truth] == ["000000007.png", "000000008.png"]
    written = cv2.imread(str(out / "000000008.png"))
    page = simulate(np.random.default_rng(8), digits, "boxes", "thin")
    assert np.array_equal(written, page.image)
    assert [line["text"] for line in truth[1]["lines"]] == [line.text for line in page.lines]
    count = sum(len(line["signs"]) for entry in truth for line in entry["lines"])
    assert f"2 pages, {count} digits" in done.output
    again = CliRunner().invoke(app, ["simulate", "pages", "--out", str(out)])
    assert isinstance(again.exception, UsageError)


@pytest.mark.parametrize("wrong", [["--kind", "slate"], ["--pen", "quill"], ["--part", "all"]])
def test_what_there_is_not(wrong: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", "pages", "--out", str(tmp_path / "p"), *wrong])
    assert isinstance(done.exception, UsageError)


@pytest.mark.long
def test_crops_to_train_on(tmp_path: Path) -> None:
    out = tmp_path / "crops.npz"
    options = ["simulate", "crops", "--count", "300", "--out"]
    for workers in ("2", "1"):
        done = CliRunner().invoke(app, [*options, str(out), "--workers", workers, "--overwrite"])
        assert done.exit_code == 0, done.output
        found = load_labelled(str(out))
        assert found.train_images.shape == (300, 32, 32, 3)
        assert found.classes[:11] == (*map(str, range(10)), ".")
        assert set(found.train_labels[:300].tolist()) >= set(range(10))
        if workers == "2":
            first = found
    assert first.fingerprint() == found.fingerprint()


def test_crops_are_cut_by_a_finder_alone(tmp_path: Path) -> None:
    options = ["simulate", "crops", "--out", str(tmp_path / "c.npz"), "--finder", "digits"]
    done = CliRunner().invoke(app, options)
    assert isinstance(done.exception, BundleError)
    assert "something else than digit_finder" in str(done.exception)


def test_a_finder_that_finds_nothing(digits: Digits) -> None:
    def blind(pixels: UInt8) -> NDArray[np.float32]:
        return np.zeros((1, 6, pixels.shape[1] // 4, pixels.shape[2] // 4), np.float32)

    with pytest.raises(InputError, match="found nothing on 16 pages in a row"):
        paper_crops(digits, 100, 0, lambda: blind)


def test_what_a_finder_is_to_say(digits: Digits) -> None:
    """A heat of 1 for each digit of a fit size in sight, and its box from any cell inside."""
    batch = crops(np.random.default_rng(0), digits, 12, 160, 3)
    assert batch.heat.shape == (12, 2, 40, 40)
    seen = 0
    for place, truth in enumerate(batch.truth):
        for left, top, width, height, digit in truth.tolist():
            whole = min(left, top) > 1 and left + width < 159 and top + height < 159
            if not digit or not whole or not 12 < max(width, height) < 75:
                continue
            column, row = int((left + width / 2) / 4), int((top + height / 2) / 4)
            assert batch.heat[place, 0, row, column] == 1
            seen += 1
    assert seen > 20
