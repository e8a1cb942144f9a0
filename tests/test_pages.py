"""Photographs and pages: digits are found, put in order and read; what is no page is no error."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paper as measure
import paper_score
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

import dlkit
from dlkit import images
from dlkit.bundle import SHIPPED, Bundle
from dlkit.cli import app
from dlkit.errors import BundleError, InputError, UsageError
from dlkit.images import UInt8
from dlkit.paper import KINDS, Digits, simulate
from dlkit.reading import annotate, crops, finder
from dlkit.runtime.backends.onnxruntime import OnnxRuntimeSession
from dlkit.tasks.recognize import Recognizer
from dlkit.tasks.recognize.datasets import load_labelled

from .long import long, long_but

_QUICK = ("plain", "squared", "desk")  # kinds of paper that are read each time; long tests read all
_QUICK_FORMS = ("12 x 10, bright on black", "64 x 64, dark, with room", "8 x 8, bright on black")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def with_height(image: UInt8, height: int) -> UInt8:
    """A digit cropped to its ink, enlarged."""
    part = measure.tight(image)
    size = (max(2, round(part.shape[1] * height / part.shape[0])), height)
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="module")
def model() -> Recognizer:
    loaded = dlkit.load("digits")
    assert isinstance(loaded, Recognizer)
    return loaded


@pytest.fixture(scope="module")
def digits() -> Digits:
    found = load_labelled("mnist-mini")
    return Digits(found.test_images, found.test_labels)


@pytest.fixture(scope="module")
def page(digits: Digits) -> UInt8:
    """Two lines on white: 01234 56789 and 98765, 40 pixels high."""
    canvas = np.full((300, 900), 255, np.uint8)
    for line, (text, top) in enumerate((("01234 56789", 40), ("98765", 180))):
        for place, letter in enumerate(text):
            if letter != " ":
                index = np.flatnonzero(digits.labels == int(letter))[3 + line]
                square = cv2.resize(digits.images[index], (56, 56), interpolation=cv2.INTER_CUBIC)
                canvas[top : top + 56, 60 + 64 * place : 116 + 64 * place] = 255 - square
    return canvas


LINES = ["01234 56789", "98765"]


def nearly(found: list[str]) -> bool:
    """All lines and spaces, and at most one digit wrong."""
    same = [len(one) == len(other) for one, other in zip(found, LINES, strict=False)]
    wrong = paper_score.edits("\n".join(found), "\n".join(LINES))
    return len(found) == len(LINES) and all(same) and wrong <= 1


def texts(model: Recognizer, image: images.Image, mode: str = "auto") -> list[str]:
    return [line.text for line in model.read(image, mode).lines]


@pytest.mark.parametrize("kind", long_but(_QUICK, KINDS))
def test_pages_are_read(kind: str, model: Recognizer, digits: Digits) -> None:
    score = measure.pages(model, digits, count=2, seed=3, kind=kind)
    assert score.digits > 60
    assert score.share >= 94


@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        ("desk", (16, 17, 75, 90)),
        ("shadow", (32, 36, 82, 119)),
        pytest.param("desk", range(60), marks=pytest.mark.long),
        pytest.param("shadow", range(60), marks=pytest.mark.long),
    ],
)
def test_no_desk_or_shadow_is_taken_for_a_digit(
    kind: str, seeds: Sequence[int], model: Recognizer, digits: Digits
) -> None:
    for seed in seeds:  # without noise, the whole page looks like one broad stroke from afar
        random = np.random.default_rng(seed)
        made = simulate(random, digits, kind, "mnist", size=(560, 420))
        written = sum(sign.text.isdigit() for line in made.lines for sign in line.signs)
        assert len(model.read(made.image).digits) >= 0.8 * written, seed


@pytest.mark.parametrize("seed", [29, 95, 115, 117, 133])
def test_in_a_small_photograph_the_edge_of_a_shadow_is_no_digit(
    seed: int, model: Recognizer, digits: Digits
) -> None:
    random = np.random.default_rng([5, seed])
    made = simulate(random, digits, "shadow", size=(120, 200), tall=30)
    written = [sign.text for line in made.lines for sign in line.signs if sign.text.isdigit()]
    found = [digit.label for digit in model.read(made.image).digits]
    assert len(set(written)) > 1
    assert paper_score.edits("".join(found), "".join(written)) <= 1


def test_digits_that_touch_are_told_apart(model: Recognizer, digits: Digits) -> None:
    score = measure.pages(model, digits, count=3, seed=3, kind="plain", touching=0.1)
    assert score.share >= 90


def test_marks_are_no_digits(model: Recognizer, digits: Digits) -> None:
    score = measure.pages(model, digits, count=4, seed=5, kind="marks", pen="mnist")
    assert score.marks > 60
    assert score.taken <= 0.05 * score.marks
    assert score.lost <= 0.02 * score.digits


def test_what_is_left_out_of_a_line_is_in_its_text(model: Recognizer, digits: Digits) -> None:
    """Signs, and words of several letters."""
    signs = measure.pages(model, digits, count=4, seed=5, kind="marks", pen="mnist")
    words = measure.pages(model, digits, count=3, seed=5, kind="plain", words=True)
    for score in (signs, words):
        assert score.signs > 30
        assert score.said >= 0.9 * score.signs
        assert score.in_vain <= 0.15 * score.signs


@pytest.mark.parametrize("scale", [1, long(1.6), 2, long(3)])
@pytest.mark.parametrize("bright", [False, True])
def test_a_printed_word_beside_a_number_is_in_the_text(
    scale: float, bright: bool, model: Recognizer
) -> None:
    words = ("EUR", "kg", "pieces", "HELL", "MIN", "Stk")
    sheet: UInt8 = np.full((round(90 * scale) * len(words), round(330 * scale), 3), 250, np.uint8)
    thick = round(1.6 * scale)
    for place, word in enumerate(words):
        bottom = round((60 + 90 * place) * scale)
        for text, left, font in (("75", 30, 0), (word, 110, (0, 2, 3)[place % 3])):
            cv2.putText(sheet, text, (round(left * scale), bottom), font, scale, (40, 40, 40),
                        thick, cv2.LINE_AA)  # fmt: skip
    found = model.read(255 - sheet if bright else sheet, "page").lines
    assert len(found) == len(words)
    assert all(line.text.startswith("75") for line in found)
    # one may be lost: letters, an S or an I, are sometimes read as digits
    assert sum("?" in line.text[2:] for line in found) >= len(words) - 1


@pytest.mark.parametrize("kind", ["ruled", long("plain"), long("squared"), long("boxes")])
def test_without_words_nothing_is_said_of_them(
    kind: str, model: Recognizer, digits: Digits
) -> None:
    score = measure.pages(model, digits, count=2, seed=6, kind=kind, pen="mnist")
    assert score.signs == 0
    assert score.in_vain <= 0.02 * score.digits + score.lost  # a lost digit is left out, too


@pytest.mark.parametrize("kind", [long("plain"), "squared", long("desk")])
def test_photographs_of_one_digit_are_read(kind: str, model: Recognizer, digits: Digits) -> None:
    score = measure.singles(model, digits, count=24, seed=4, kind=kind)
    assert score.wrong <= 1


@pytest.mark.parametrize("wide", measure.WIDTHS.values())
def test_isolated_digits_are_read(
    wide: tuple[float, float], model: Recognizer, digits: Digits
) -> None:
    whole, broad = measure.isolated(model, digits, 4, seed=2, pen="mnist", wide=wide)
    assert whole.digits == 288
    assert whole.share >= (97 if wide[0] < 1 else 92)
    assert wide[0] < 1 or broad.share >= 92


@pytest.mark.parametrize("bright", [False, True])
@pytest.mark.parametrize("wide", [1.0, 1.3, 1.6])
def test_a_wide_open_four_is_one_digit(wide: float, bright: bool, model: Recognizer) -> None:
    """Drawn, where no digit is near: the finder sees its two strokes, the ink hangs together."""
    page = np.full((160, 760), 238, np.uint8)
    for left in (60, 300, 540):
        strokes = ((0.3, 0), (0, 0.8), (0.95, 0.75)), ((1, 0.05), (0.85, 1))
        for stroke in strokes:
            ends = np.array([(left + x * wide * 48, 55 + y * 48) for x, y in stroke], np.int32)
            cv2.polylines(page, [ends], False, 40, 4, cv2.LINE_AA)
    page = np.asarray(cv2.GaussianBlur(page, (0, 0), 0.8), np.uint8)
    assert texts(model, 255 - page if bright else page) == ["4 4 4"]


@pytest.mark.long
def test_unsure_digits_do_not_keep_the_squares(model: Recognizer, digits: Digits) -> None:
    """With its squares the middle of this page shows more digits, without them surer ones."""
    random = np.random.default_rng([0, 13, KINDS.index("squared")])
    made = simulate(random, digits, "squared", "mnist", size=(1632, 1224))
    score = paper_score.Score()
    paper_score.compare(score, made, model.read(made.image))
    assert score.digits == 122
    assert score.wrong <= 6


def test_of_a_large_page_the_middle_says_whether_squares_go(
    model: Recognizer, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    find = model.paper.find

    def found(pixels: UInt8) -> NDArray[np.float32]:
        looked.append(pixels.size)
        return find(pixels)

    monkeypatch.setattr(model.paper, "find", found)
    made = simulate(np.random.default_rng(50), digits, "squared", "mnist", size=(1632, 1224))
    plain = cv2.cvtColor(made.image, cv2.COLOR_BGR2GRAY)
    model.read(np.asarray(plain, np.uint8), "page")
    once, looked[:] = sum(looked), []
    page = model.read(made.image, "page")
    assert once < sum(looked) < 1.8 * once  # 512 x 512 twice, and the whole
    score = paper_score.Score()
    paper_score.compare(score, made, page)
    assert score.share >= 94


@pytest.mark.parametrize("auto", [long(False), True])
@pytest.mark.parametrize("form", long_but(_QUICK_FORMS, measure.FORMS))
def test_crops_are_read(form: str, auto: bool, model: Recognizer, digits: Digits) -> None:
    score = measure.crops(model, digits, 150 if auto else 300, measure.FORMS[form], auto)
    assert score.share >= 97.3 - 2 * (form == "8 x 8, bright on black")


@pytest.mark.parametrize("side", [300, 1000, 2000])
def test_large_crops_without_noise_are_one_digit(
    side: int, model: Recognizer, digits: Digits
) -> None:
    """As large as pages, whose digits are as large as parts of theirs."""
    score = measure.crops(model, digits, 20, measure.resized(side, 0, dark=True), auto=True)
    assert score.wrong <= 2  # as at 64 pixels


@pytest.mark.parametrize("table", [False, True])
def test_a_large_page_without_noise_is_no_digit(
    table: bool, model: Recognizer, digits: Digits
) -> None:
    """Its ink, also where all of it hangs together, is as near to its borders as a crop's."""
    page = np.vstack([np.hstack([cv2.resize(one, (48, 48)) for one in digits.images[:12]])] * 8)
    page = page[6:-6, 10:-10]
    if table:
        for line in (42, 43):
            page[line::48] = page[:, line - 4 :: 48] = 255
    read = model.read(np.asarray(255 - page, np.uint8))
    assert not read.single
    assert len(read.lines) == 8


@pytest.mark.parametrize("sign", ["-", ",", "."])
@pytest.mark.parametrize("noise", [0, 4])
def test_a_sign_beside_one_digit_is_kept(
    sign: str, noise: int, model: Recognizer, digits: Digits
) -> None:
    """On a crop with nothing else."""
    random, read = np.random.default_rng(0), []
    for image in digits.images[:20]:
        crop = cv2.copyMakeBorder(with_height(image, 60), 8, 14, 40, 40, cv2.BORDER_CONSTANT)
        if sign == "-":
            cv2.line(crop, (8, 38), (30, 38), 255, 5)
        elif sign == ".":
            cv2.circle(crop, (crop.shape[1] - 28, 63), 4, 255, -1)
        else:
            cv2.line(crop, (crop.shape[1] - 27, 61), (crop.shape[1] - 31, 72), 255, 5)
        paper = 235 - 0.8 * crop + random.normal(0, noise, crop.shape)
        read.append(model.read(paper.clip(0, 255).astype(np.uint8)).text)
    kept = [text.startswith("-") if sign == "-" else text.endswith(sign) for text in read]
    assert sum(kept) >= 17
    right = [text.strip(".,-?") == str(one) for text, one in zip(read, digits.labels, strict=False)]
    assert sum(right) >= 18


@pytest.mark.parametrize("mode", ["auto", "single"])
@pytest.mark.parametrize("outside", [long(0), 10])
@pytest.mark.parametrize(("gap", "ink"), [(8, 0), (20, 0), (8, 150)])
def test_a_printed_box_around_a_digit_is_no_ink_of_its(
    gap: int, ink: int, outside: int, mode: str, model: Recognizer, digits: Digits
) -> None:
    """Drawn without noise, as electronic forms are."""
    right = 0
    for image, label in zip(digits.images[:20], digits.labels, strict=False):
        digit = cv2.copyMakeBorder(with_height(image, 60), *[gap + 4] * 4, cv2.BORDER_CONSTANT)
        form = 255 - digit
        cv2.rectangle(form, (1, 1), (form.shape[1] - 2, form.shape[0] - 2), ink, 2)
        form = cv2.copyMakeBorder(form, *[outside] * 4, cv2.BORDER_CONSTANT, value=255)
        right += model.read(np.asarray(form, np.uint8), mode).text == str(label)
    assert right >= 18


@pytest.mark.parametrize("dark", [True, False])
def test_crops_without_noise_are_not_looked_for(
    dark: bool, model: Recognizer, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their blurred edges are no photograph's ground, and a stroke may fill them."""
    looked: list[int] = []
    find = model.paper.find

    def found(pixels: UInt8) -> NDArray[np.float32]:
        looked.append(1)
        return find(pixels)

    monkeypatch.setattr(model.paper, "find", found)
    measure.crops(model, digits, 300, measure.resized(80, 60, dark=dark))
    assert len(looked) <= 6


def test_the_measuring_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--pages", "1", "--singles", "2", "--crops", "5", "--kinds", "plain"]
    monkeypatch.setattr(
        "sys.argv", ["paper.py", *options, "--pens", "mnist", "--write", str(tmp_path)]
    )
    measure.main()
    printed = capsys.readouterr().out
    assert "| plain | mnist |" in printed
    assert "| 12 x 10, bright on black |" in printed
    assert len(list(tmp_path.glob("plain-mnist-*.png"))) == 1


@pytest.mark.parametrize("degrees", [-10, -4, 4, 10])
def test_tilted_pages(degrees: int, model: Recognizer, page: UInt8) -> None:
    turn = cv2.getRotationMatrix2D((450, 150), degrees, 1.0)
    turn[1, 2] += 100
    tilted = cv2.warpAffine(page, turn, (900, 500), borderValue=255.0)
    assert nearly(texts(model, np.asarray(tilted, np.uint8)))


def test_any_kind_of_image(model: Recognizer, page: UInt8) -> None:
    """Polarity, depth, colour, alpha, light and size do not matter."""
    light = np.linspace(0.35, 1, page.shape[1])
    blank = np.zeros_like(page)
    red_on_green = np.dstack([blank, (page * 0.6).astype(np.uint8), ((255 - page) * 1.0) * 0.85])
    kinds: dict[str, images.Image] = {
        "as it is": page,
        "bright on dark": 255 - page,
        "16 bit": page.astype(np.uint16) * 257,
        "faint": (page // 5 + 150).astype(np.uint8),
        "lit from one side": (page * light).astype(np.uint8),
        "yellow paper": np.dstack([page // 3, page, page]),
        "red on green": red_on_green.astype(np.uint8),
        "black, drawn by alpha": np.dstack([blank, blank, blank, 255 - page]),
        "white, drawn by alpha": np.dstack([blank + 255, blank + 255, blank + 255, 255 - page]),
        "large": cv2.resize(page, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC),
        "small": cv2.resize(page, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    }
    for name, kind in kinds.items():
        assert nearly(found := texts(model, kind)), (name, found)


@pytest.mark.parametrize("bits", [8, 16])
def test_squares_as_dark_as_the_ink(bits: int, model: Recognizer, page: UInt8) -> None:
    """Lines of another colour than the ink are taken out; in grey both are alike."""
    ink, lines = np.array([120.0, 25.0, 25.0]), np.array([35.0, 35.0, 35.0])
    drawn = np.full((*page.shape, 3), 235.0)
    for place in range(4):
        drawn[:, place::26] = drawn[place::26] = lines
    drawn += (1 - page[:, :, None] / 255) * (ink - drawn)
    noisy = (drawn + np.random.default_rng(0).normal(0, 3, drawn.shape)).clip(0, 255)
    image = (noisy * (257 if bits == 16 else 1)).astype(f"uint{bits}")
    assert nearly(found := texts(model, image)), found


def test_boxes_are_in_the_pixels_of_the_image(model: Recognizer, page: UInt8) -> None:
    for scale in (1, 3):
        large = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        found = model.read(np.asarray(large, np.uint8))
        for line in found.lines:
            for digit in line.digits:
                x, y, width, height = digit.box
                inside = large[y : y + height, x : x + width]
                around = large[max(y - 6, 0) : y + height + 6, max(x - 6, 0) : x + width + 6]
                ink = (around < 128).sum()
                assert (inside < 128).sum() >= 0.85 * ink > 0
        assert [digit.label for digit in found.digits] == [*"012345678998765"]


def test_a_broken_stroke_is_joined(model: Recognizer, page: UInt8) -> None:
    broken = page.copy()
    five = next(digit for digit in model.read(page).digits if digit.label == "5")
    x, y, width, height = five.box
    row = y + height // 4
    broken[row : row + 2, x : x + width] = 255
    assert texts(model, broken) == LINES


@pytest.mark.parametrize("side", [60, long(20), long(150)])
@pytest.mark.parametrize(("rows", "columns"), [(2, 1), (3, 1), (7, 1), (7, 6)])
@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_digits_below_each_other_are_not_one(
    rows: int, columns: int, side: int, noise: float, model: Recognizer, digits: Digits
) -> None:
    """Nor is a page that is so small where it is looked at that its lines are strokes."""
    shapes = iter(digits.images)
    drawn = np.zeros((int((1.4 * rows + 1) * side), (columns + 2) * side), np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = int((1.4 * row + 0.7) * side), (column + 1) * side
            drawn[top : top + side, left : left + side] = cv2.resize(next(shapes), (side, side))
    pixels = 240 - 0.8 * drawn + np.random.default_rng(0).normal(0, noise, drawn.shape)
    found = model.read(pixels.clip(0, 255).astype(np.uint8))
    assert not found.single
    assert len(found.lines) == rows
    assert len(found.digits) >= 0.9 * rows * columns


@pytest.mark.parametrize("mode", ["auto", "page"])
def test_no_digits_are_an_honest_answer(mode: str, model: Recognizer) -> None:
    random = np.random.default_rng(0)
    for image in (
        np.full((500, 400), 255, np.uint8),
        np.zeros((500, 400, 3), np.uint8),
        random.integers(0, 256, (300, 500), dtype=np.uint8),
        (200 + random.normal(0, 8, (600, 800))).astype(np.uint8),
        np.tile(np.linspace(0, 255, 700).astype(np.uint8), (300, 1)),
    ):
        assert model.read(image, mode).lines == ()
        assert len(model.recognize([image])) == 1  # asked for one digit it says one


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (1, 900),
        (2, 3),
        (7, 5),
        (12, 12),
        (900, 2),
        (5000, 1),
        pytest.param((3, 20_000), marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("noise", [True, False])
def test_tiny_images(shape: tuple[int, int], noise: bool, model: Recognizer) -> None:
    image = np.full(shape, 255, np.uint8)
    image[: shape[0] // 3 + 1, : shape[1] // 3 + 1] = 0
    if noise:
        image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    for mode in ("auto", "single", "page"):
        for digit in model.read(image, mode).digits:
            x, y, width, height = digit.box
            assert min(x, y) >= 0
            assert min(width, height) >= 1
            assert y + height <= shape[0]
            assert x + width <= shape[1]


@pytest.mark.long
def test_memory_does_not_grow_with_the_square_of_what_is_found() -> None:
    tracemalloc.start()
    places = np.stack(np.meshgrid(np.arange(60), np.arange(60)), -1).reshape(-1, 2)
    boxes = np.hstack([14.0 * places, np.full((3600, 2), 11.0), np.full((3600, 2), (0.9, 0.1))])
    assert len(finder.merged(np.repeat(boxes, 2, axis=0).astype(np.float32))) == 3600
    crops.crop(
        crops.Scales(np.zeros((1, 100_000), np.uint8)), (0, 0, 100_000, 1)
    )  # no square of that side
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_what_is_around_digits_does_not_hide_them(model: Recognizer, page: UInt8) -> None:
    """Of a large box that may be a digit and several inside of it the surer ones stay."""
    for shape in ("ellipse", "rectangle"):
        drawn = page.copy()
        if shape == "ellipse":
            cv2.ellipse(drawn, (220, 208), (185, 75), 0, 0, 360, 0, 4, cv2.LINE_AA)
        else:
            cv2.rectangle(drawn, (40, 150), (400, 270), 0, 4)
        found = "".join(line.text for line in model.read(drawn, "page").lines)
        assert "98765" in found, shape


def test_networks_beside_the_bundle(tmp_path: Path, page: UInt8) -> None:
    """Where digit_finder and digit_reader lie in the bundle's folder, they are run, not those that
    ship: they may have engines."""
    for name in ("digits", "digit_finder", "digit_reader"):
        Bundle.open(name).copy(tmp_path / name)
    with dlkit.load(tmp_path / "digits") as own:
        assert isinstance(own, Recognizer)
        assert nearly(texts(own, page))
        assert own.setting == " ".join(
            Bundle.open(name).sha256[:16] for name in ("digit_finder", "digit_reader")
        )
    (tmp_path / "digit_reader" / "model.onnx").write_bytes(b"no graph")
    with dlkit.load(tmp_path / "digits") as own, pytest.raises(BundleError, match="damaged"):
        own.read(page)
    shutil.rmtree(tmp_path / "digit_finder")
    Bundle.open("mmwave").copy(tmp_path / "digit_finder")
    with dlkit.load(tmp_path / "digits") as own, pytest.raises(BundleError, match="something else"):
        own.read(page)


def test_networks_for_paper_that_give_nan(model: Recognizer, page: UInt8) -> None:
    broken: Any = lambda bundle: lambda pixels: np.full((1, 6, 8, 8), np.nan)  # noqa: E731
    other = Recognizer(model.bundle, replace(model.opened, another=broken))
    with pytest.raises(InputError, match="NaN"):
        other.read(page)


@pytest.mark.long
def test_a_huge_page_is_read_at_a_reduced_scale(
    model: Recognizer, page: UInt8, tmp_path: Path
) -> None:
    huge = np.full((9000, 12000), 255, np.uint8)
    large = cv2.resize(page, None, fx=12, fy=12, interpolation=cv2.INTER_LINEAR)
    huge[2000:5600, 400:11200] = large
    found = model.read(huge)
    assert [line.text for line in found.lines] == LINES
    first = found.digits[0].box
    assert 400 < first.x < 1800
    assert 2000 < first.y < 3600


def test_squares_of_the_network_go_in_untouched(model: Recognizer, digits: Digits) -> None:
    for image in digits.images[:20]:
        assert model.prepare(image)[0] is image


def test_no_such_mode(model: Recognizer, page: UInt8, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Use one of auto, single, page"):
        model.read(page, "book")
    cv2.imwrite(str(tmp_path / "page.png"), page)
    done = run("recognize", tmp_path / "page.png", "--mode", "book", "--out", tmp_path / "o.csv")
    assert isinstance(done.exception, UsageError)


@pytest.fixture
def mixed(tmp_path: Path, page: UInt8, digits: Digits) -> Path:
    """A page, a photograph, an MNIST square, a blank page and a damaged file."""
    folder = tmp_path / "mixed"
    (folder / "sub").mkdir(parents=True)
    cv2.imwrite(str(folder / "page.png"), page)
    cv2.imwrite(str(folder / "square.png"), digits.images[0])
    cv2.imwrite(str(folder / "blank.png"), np.full((300, 400), 240, np.uint8))
    photograph = np.full((200, 160), 230, np.uint8)
    photograph[40:152, 20:132] -= cv2.resize(digits.images[1], (112, 112)) // 2
    cv2.imwrite(str(folder / "sub" / "photograph.jpg"), photograph)
    (folder / "damaged.png").write_bytes(b"\x89PNG and no more")
    return folder


def test_the_table_of_a_mixed_folder(mixed: Path, tmp_path: Path, digits: Digits) -> None:
    out = tmp_path / "o.csv"
    done = run("recognize", mixed, "--out", out)
    assert done.exit_code == 1
    assert "4 done, 1 failed" in done.output
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows(out):
        found.setdefault(row["file"], []).append(row)
    assert "".join(row["digit"] for row in found["page.png"]) == "012345678998765"
    assert [(row["line"], row["place"]) for row in found["page.png"]][9:12] == [
        ("1", "10"), ("2", "1"), ("2", "2"),
    ]  # fmt: skip
    assert {row["text"] for row in found["page.png"]} == set(LINES)
    assert all(int(row["width"]) > 3 and int(row["x"]) > 50 for row in found["page.png"])
    assert found["square.png"][0]["digit"] == str(digits.labels[0])
    assert found["square.png"][0]["x"] == ""
    (photograph,) = found["sub/photograph.jpg"]
    assert photograph["digit"] == str(digits.labels[1])
    assert int(photograph["width"]) > 3
    assert found["blank.png"][0]["digit"] == found["blank.png"][0]["error"] == ""
    assert "1 image without a digit" in done.output
    assert found["damaged.png"][0]["error"]
    before = out.read_text()
    again = run("recognize", mixed, "--out", out)
    assert "4 done before, 0 done, 1 failed" in again.output
    assert out.read_text() == before
    other = run("recognize", mixed, "--out", out, "--mode", "single")
    assert "\n4 done, 1 failed" in other.output  # answers of another mode do not count
    assert list(rows(out)[0]) == ["file", "digit", "probability", "error"]
    assert len(rows(out)) == 5


def test_json_lines_of_a_mixed_folder(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    assert run("recognize", mixed, "--out", out, "--reject", 1).exit_code == 1
    found = {line["file"]: line for line in map(json.loads, out.read_text().splitlines())}
    assert [line["text"] for line in found["page.png"]["lines"]] == LINES
    first = found["page.png"]["lines"][0]["digits"][0]
    assert set(first) == {"digit", "probability", "x", "y", "width", "height", "unsure"}
    assert set(found["square.png"]) - {"unsure"} == {"file", "digit", "probability"}
    assert found["blank.png"] == {"file": "blank.png", "lines": []}
    assert set(found["damaged.png"]) == {"file", "error"}


def test_reject_marks_and_counts(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    for limit in (0.0, 0.99, 1.0):  # a second run marks anew what was done before
        done = run("recognize", mixed, "--out", out, "--reject", limit)
        table = [row for row in rows(out) if row["digit"]]
        below = [row for row in table if float(row["probability"]) < limit]
        assert [row for row in table if row["unsure"] == "yes"] == below
        assert f"{len(below)} of {len(table)} digits unsure" in done.output
    np.save(tmp_path / "noise.npy", np.full((5, 28, 28), 90, np.uint8))
    done = run("recognize", tmp_path / "noise.npy", "--out", out, "--reject", 1, "--mode", "single")
    assert "of 5 digits unsure" in done.output
    assert list(rows(out)[0]) == ["file", "digit", "probability", "error", "unsure"]


def test_annotated_pictures(mixed: Path, tmp_path: Path) -> None:
    seen, out = tmp_path / "seen", tmp_path / "o.csv"
    arguments = ("recognize", mixed, "--out", out, "--annotate", seen, "--reject", 0.9)
    assert run(*arguments).exit_code == 1
    pictures = {path.relative_to(seen).as_posix() for path in seen.rglob("*.*")}
    assert pictures == {"page.png", "square.png", "blank.png", "sub/photograph.jpg"}
    drawn = images.read(seen / "page.png")
    assert drawn.shape == (300, 900, 3)
    coloured = (drawn.max(axis=2).astype(int) - drawn.min(axis=2)) > 100
    for row in rows(out):
        if row["file"] == "page.png":
            assert coloured[int(row["y"]), int(row["x"]) : int(row["x"]) + int(row["width"])].all()
    assert "4 done before, 0 done" in run(*arguments).output
    (seen / "page.png").unlink()
    assert "3 done before, 1 done" in run(*arguments).output
    assert (seen / "page.png").is_file()
    done = run("recognize", mixed, "--out", out, "--annotate", mixed)
    assert "Choose another" in str(done.exception)


def test_photographs_are_turned_as_their_exif_says(
    page: UInt8, model: Recognizer, tmp_path: Path
) -> None:
    jpeg = cv2.imencode(".jpg", np.rot90(page))[1].tobytes()  # the camera was turned
    # One entry of the TIFF header in APP1: orientation (0x0112), short, 6: turn it clockwise.
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(tiff) + 8).to_bytes(2, "big") + b"Exif\0\0" + tiff
    (tmp_path / "photograph.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    out = tmp_path / "o.jsonl"
    assert run("recognize", tmp_path / "photograph.jpg", "--out", out).exit_code == 0
    (found,) = map(json.loads, out.read_text().splitlines())
    assert [line["text"] for line in found["lines"]] == LINES


def test_frames_that_are_asked_for_anew_are_read_anew(tmp_path: Path, digits: Digits) -> None:
    images.write_frames(tmp_path / "a.tif", list(digits.images[:3]))
    counts = []
    for frames in ("first", "all", "2"):
        done = run("recognize", tmp_path / "a.tif", "--out", tmp_path / "o.csv", "--frames", frames)
        assert "done before" not in done.output
        counts.append([row["digit"] for row in rows(tmp_path / "o.csv")])
    own = [str(label) for label in digits.labels[:3]]
    assert counts == [own[:1], own, own[1:2]]


def test_an_annotated_jpeg_of_several_pictures_can_be_read(tmp_path: Path, digits: Digits) -> None:
    large = [cv2.resize(one, (112, 112)) for one in digits.images[:4]]
    images.write_frames(tmp_path / "a.jpg", large)
    seen = tmp_path / "seen"
    done = run("recognize", tmp_path / "a.jpg", "--out", tmp_path / "o.csv", "--annotate", seen)
    assert done.exit_code == 0
    assert [row["digit"] for row in rows(tmp_path / "o.csv")] == list(map(str, digits.labels[:4]))
    assert len(images.decode_frames((seen / "a.jpg").read_bytes(), "a.jpg")) == 4


def test_arrays_of_any_form(tmp_path: Path, digits: Digits) -> None:
    own = digits.images[:50]
    forms = {
        "rows": own.reshape(50, 784),
        "columns of rows": own.reshape(50, 784, 1),
        "a channel of rows": own.reshape(50, 1, 784),
        "last, and a channel": np.moveaxis(own, 0, -1)[..., None],
        "last": np.moveaxis(own, 0, -1),
        "channels": own[:, None],
        "ones": (own > 127).astype(np.uint8),
        "truth": own > 127,
    }
    for name, array in forms.items():
        np.save(tmp_path / f"{name}.npy", array)
        out = tmp_path / f"{name}.csv"
        done = run("recognize", tmp_path / f"{name}.npy", "--out", out)
        assert done.exit_code == 0, done.output
        table = rows(out)
        assert [row["file"] for row in table] == [f"{name}.npy[{index}]" for index in range(50)]
        right = sum(row["digit"] == str(label)
                    for row, label in zip(table, digits.labels, strict=False))  # fmt: skip
        assert right >= 48, name


@pytest.mark.long
def test_an_array_that_begins_with_nothing(tmp_path: Path, digits: Digits) -> None:
    """Values of 0 and 1 are known from the first image with ink, however late it comes."""
    own = (digits.images[:50] > 127).astype(np.uint8)
    np.save(tmp_path / "a.npy", np.concatenate([np.zeros((20_000, 28, 28), np.uint8), own]))
    assert run("recognize", tmp_path / "a.npy", "--out", tmp_path / "o.csv").exit_code == 0
    table = rows(tmp_path / "o.csv")[20_000:]
    assert (
        sum(row["digit"] == str(label) for row, label in zip(table, digits.labels, strict=False))
        >= 48
    )


def test_a_damaged_archive_of_images_along_the_last_axis(tmp_path: Path, digits: Digits) -> None:
    np.savez_compressed(tmp_path / "a.npz", np.moveaxis(digits.images[:50], 0, -1))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "a.npz").write_bytes(data)
    done = run("recognize", tmp_path / "a.npz", "--out", tmp_path / "o.csv")
    assert done.exit_code == 1
    assert rows(tmp_path / "o.csv")[0]["error"]


@pytest.mark.parametrize(
    "shape",
    [(784, 784), (28, 28, 3), (28, 28, 4), (20, 20, 50), (8, 8, 90), (28, 50, 28), (40, 60, 3),
     (30, 400), (784, 5), (5, 785), (200, 64), (200, 65), (64, 200)],
)  # fmt: skip
def test_arrays_of_which_nobody_can_say(
    shape: tuple[int, ...], tmp_path: Path, model: Recognizer
) -> None:
    array = np.zeros(shape, np.uint8)
    np.save(tmp_path / "a.npy", array)
    done = run("recognize", tmp_path / "a.npy", "--out", tmp_path / "o.csv")
    assert done.exit_code == 1
    assert "expected uint8 images (N, height, width). " in " ".join(done.output.split())
    with pytest.raises(InputError, match=r"expected images \(N, height, width\)"):
        model.recognize(array)


@pytest.mark.parametrize(
    ("shape", "count"),
    [((5, 700), 1), ((48, 64), 1), ((64, 64), 1), ((60, 40, 1), 1), ((9, 784), 9), ((1, 784), 1),
     ((28, 28, 28), 28), ((20, 1, 20, 50), 20), ((1, 30, 400), 1)],
)  # fmt: skip
def test_arrays_whose_meaning_is_likely(shape: tuple[int, ...], count: int, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    assert run("recognize", tmp_path / "a.npy", "--out", tmp_path / "o.csv").exit_code == 0
    assert len(rows(tmp_path / "o.csv")) == count


def test_images_along_the_last_axis_are_refused_in_memory(
    model: Recognizer, digits: Digits
) -> None:
    array = np.moveaxis(digits.images[:50], 0, -1)
    with pytest.raises(InputError, match=r"np\.moveaxis"):
        model.recognize(array)
    assert len(model.recognize(np.moveaxis(array, -1, 0))) == 50


def test_networks_for_paper_that_lie_beside_need_a_certificate_too(tmp_path: Path) -> None:
    for name in ("digits", "digit_finder"):
        shutil.copytree(SHIPPED / name, tmp_path / name)
    cv2.imwrite(str(tmp_path / "seven.png"), np.zeros((28, 28), np.uint8))
    options = ["recognize", str(tmp_path / "seven.png"), "--model", str(tmp_path / "digits"),
               "--out", str(tmp_path / "a.csv"), "--overwrite"]  # fmt: skip
    done = CliRunner().invoke(app, [*options, "--require-certificate"])
    assert done.exit_code == 0
    assert f"with {tmp_path / 'digit_finder'}" in " ".join(done.stderr.split())
    spec = tmp_path / "digit_finder" / "model.json"
    data = json.loads(spec.read_text())
    del data["certificate"]
    spec.write_text(json.dumps(data))
    refused = CliRunner().invoke(app, [*options, "--require-certificate"])
    assert isinstance(refused.exception, BundleError)
    assert "digit_finder" in str(refused.exception)
    assert "warning" in CliRunner().invoke(app, options).stderr


def test_arrays_that_are_read_are_not_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    np.save(folder / "a.npy", np.zeros((5, 28, 28), np.uint8))
    np.savez(folder / "b.npz", np.zeros((5, 28, 28), np.uint8))
    (folder / "c.heic").write_bytes(b"x")
    done = run("recognize", folder, "--out", tmp_path / "o.csv")
    assert "10 done, 0 failed, 1 left out" in " ".join(done.output.split())
    assert "left out 1 files of kinds that are not read: c.heic" in done.output


BLUE = np.array([178, 114, 0])  # of the palette, BGR


@pytest.mark.parametrize("shape", [(28, 28), (120, 160), (300, 12)])
@pytest.mark.parametrize(
    "name", ["7", "caf\u00e9 noir", "\u732b", "a name that goes on and on " * 9, "x\udcff\n"]
)
def test_names_of_any_script_are_written_once_and_can_be_read(
    name: str, shape: tuple[int, int]
) -> None:
    grey = np.full(shape, 120, np.uint8)
    drawn = annotate.picture(grey, annotate.whole((name, 0.5), shape))
    bare = annotate.picture(grey, annotate.whole(("", 0.5), shape))
    label = np.argwhere((drawn != bare).any(axis=2))
    top, left = label.min(axis=0)
    bottom, right = label.max(axis=0) + 1
    within = drawn[top:bottom, left:right].astype(int)
    assert bottom <= drawn.shape[0] / 2  # it stays in its corner
    # What is white is a rim of what is blue, and no second text beside it.
    blue = (np.abs(within - BLUE).max(axis=2) < 90).astype(np.uint8)
    white = (within.min(axis=2) > 200).astype(np.uint8)
    assert white.any()
    assert not white[cv2.dilate(blue, np.ones((9, 9), np.uint8)) == 0].any()


def test_no_name_is_drawn_as_another() -> None:
    grey = np.full((60, 60), 120, np.uint8)
    names = ["e", "\u00e9", "\u00e8", "\u0436", "\u732b", "\u72ac"]
    drawn = {
        annotate.picture(grey, annotate.whole((one, 0.5), (60, 60))).tobytes() for one in names
    }
    assert len(drawn) == len(names)


def test_thin_lines_cost_no_more_than_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in pictures that networks look at; where all is lines, more of them cost nothing."""
    looked_at = 0
    run = OnnxRuntimeSession._run

    def counting(self: OnnxRuntimeSession, feeds: Any) -> Any:
        nonlocal looked_at
        looked_at += sum(len(one) for one in feeds.values())
        return run(self, feeds)

    monkeypatch.setattr(OnnxRuntimeSession, "_run", counting)
    counts = []
    with dlkit.load("digits", backend="onnxruntime") as model:
        for lines in (10, 20, 40, 80):
            drawn, dice = np.full((300, 800), 255, np.uint8), np.random.default_rng(0)
            for ends in dice.integers(0, (800, 300, 800, 300), (lines, 4)).tolist():
                cv2.line(drawn, tuple(ends[:2]), tuple(ends[2:]), 0, 1)
            before = looked_at
            model.read(drawn)
            counts.append(looked_at - before)
    assert counts[0] > 10
    assert all(more < 2.2 * less for less, more in itertools.pairwise(counts)), counts
    assert max(counts) < 300 * 800 / 64, counts  # a picture for each 8 x 8 pixels
