"""Small images: squares of the network's own size as others save them, in arrays, too; nothing."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import dlkit
from dlkit import images
from dlkit.cli import app
from dlkit.images import UInt8
from dlkit.paper import Digits
from dlkit.tasks.recognize import Recognizer
from dlkit.tasks.recognize.datasets import load_labelled

DICE = np.random.default_rng(0)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def model() -> Recognizer:
    loaded = dlkit.load("digits")
    assert isinstance(loaded, Recognizer)
    return loaded


@pytest.fixture(scope="module")
def digits() -> Digits:
    found = load_labelled("mnist-mini")
    return Digits(found.test_images, found.test_labels)


def squares(digits: Digits) -> dict[str, UInt8]:
    """28 x 28 as others save them."""
    own = digits.images[:40]
    black = np.zeros_like(own)
    small = np.stack([cv2.resize(image, (14, 14), interpolation=cv2.INTER_AREA) for image in own])
    corner = np.zeros_like(own)
    corner[:, 14:, :14] = small
    return {
        "as they are": own,
        "0 and 1": own // 128,
        "drawn by alpha": np.stack([black, black, black, own], axis=3),
        "white, drawn by alpha": np.stack([255 - black] * 3 + [own], axis=3),
        "in a corner": corner,
        "in a corner, dark on white": 255 - corner,
        "in a corner, on grey": (200 - 0.7 * corner).astype(np.uint8),
        "in a corner, with noise": corner // 2 + DICE.integers(0, 12, corner.shape, np.uint8),
        "in a corner, JPEG": np.stack([jpeg(one) for one in corner]),
        "0 and 1 in colours": np.stack([own // 128] * 3, axis=3),
        "0 and 1 in a channel": own[..., None] // 128,
        "0 and 1 of 16 bits": (own // 128).astype(np.uint16),
        "0 and 1 in colours, opaque": np.stack([own // 128] * 3 + [black + 255], axis=3),
        "drawn by alpha of 0 and 1": np.stack([black, black, black, own // 128], axis=3),
        "drawn by alpha of 16 bits": np.stack([black] * 3 + [own], axis=3).astype(np.uint16) * 257,
        "red on green": np.stack([black, 130 - own * 0.51, own], axis=3).astype(np.uint8),
        "17 pixels high, at the edge": np.stack([moved(one) for one in own]),
    }


def jpeg(image: UInt8) -> UInt8:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image)[1], cv2.IMREAD_GRAYSCALE), np.uint8)


def moved(image: UInt8) -> UInt8:
    canvas = np.zeros_like(image)
    canvas[:17, :17] = cv2.resize(image[4:24, 4:24], (17, 17), interpolation=cv2.INTER_AREA)
    return canvas


def test_squares_of_any_form(model: Recognizer, digits: Digits) -> None:
    for name, made in squares(digits).items():
        found = model.recognize(list(made))
        right = [one.label == str(label) for one, label in zip(found, digits.labels, strict=False)]
        assert sum(right) >= 38, name


def test_squares_of_mnist_stay_as_they_are(model: Recognizer, digits: Digits) -> None:
    own = digits.images
    assert model.in_form(own) is own or (model.in_form(own) == own).all()
    for image in own[:200]:
        for one in (image, 255 - image, np.dstack([image] * 3)):
            assert (model.prepare(one)[0] == images.grey(one)).all()


def test_arrays_are_brought_into_form_as_images_are(
    model: Recognizer, digits: Digits, tmp_path: Path
) -> None:
    made = squares(digits)
    own = digits.images[:20]
    mixed = np.concatenate([own, made["in a corner"][20:40]])
    np.save(tmp_path / "mixed.npy", mixed)
    np.save(tmp_path / "grey.npy", made["in a corner, on grey"])
    small = [
        cv2.resize(one[4:24, 4:24], (8, 8), interpolation=cv2.INTER_AREA) for one in mixed[:20]
    ]
    np.save(tmp_path / "sixteen.npy", np.stack(small) // 16)  # as scikit-learn has them
    assert run("recognize", tmp_path, "--out", tmp_path / "o.csv").exit_code == 0
    table = {row["file"]: row["digit"] for row in rows(tmp_path / "o.csv")}
    for name, count in (("mixed", 40), ("grey", 40), ("sixteen", 20)):
        found = [table[f"{name}.npy[{index}]"] for index in range(count)]
        right = sum(one == str(label) for one, label in zip(found, digits.labels, strict=False))
        assert right >= 0.9 * count, name


@pytest.mark.parametrize("side", [20, 28, 40, 64])
def test_small_images_of_nothing_are_empty_pages(side: int, tmp_path: Path, digits: Digits) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    dice = np.random.default_rng(side)
    blank = {
        "white": np.full((side, side), 255, np.uint8),
        "noise": 200 + dice.integers(0, 30, (side, side), np.uint8),
        "dark": dice.integers(0, 4, (side, side), np.uint8),
        "colours": np.full((side, side, 3), (200, 90, 10), np.uint8),
    }
    faint = cv2.resize(digits.images[0], (side, side), interpolation=cv2.INTER_AREA)
    for name, image in (blank | {"faint": 200 - faint // 8}).items():
        cv2.imwrite(str(folder / f"{name}.png"), image)
    done = run("recognize", folder, "--out", tmp_path / "o.csv")
    assert "4 images without a digit" in " ".join(done.output.split())
    found = {row["file"].removesuffix(".png"): row["digit"] for row in rows(tmp_path / "o.csv")}
    assert found == dict.fromkeys(blank, "") | {"faint": str(digits.labels[0])}
    assert run("recognize", folder, "--out", tmp_path / "s.csv", "--mode", "single").exit_code == 0
    assert all(row["digit"] for row in rows(tmp_path / "s.csv"))
