"""Evaluation of digits: each measure on cases whose answer is known, and the whole command."""

from __future__ import annotations

import ast
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import dlkit
from dlkit.__main__ import main
from dlkit.errors import BundleError, InputError
from dlkit.evaluation import classes as of_classes
from dlkit.evaluation import digits as evaluation
from dlkit.evaluation.corruptions import CORRUPTIONS, MNIST_C, corrupt, settings
from dlkit.evaluation.non_digits import KINDS, non_digits
from dlkit.evaluation.report import Request
from dlkit.export.api import evaluate, export
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.classify import scores
from dlkit.training.classify.confusion import draw_confusions

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "dlkit" / "shipped" / "digits"
RANDOM = set(CORRUPTIONS) - {"scale", "brightness", "stripe", "canny_edges", "gaussian_blur",
                             "contrast", "inverse"}  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load_labelled("mnist-mini").test_images[:40]


# --- measures -----------------------------------------------------------------------------------


# Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
     (1, 29, 0.0061, 0.1718), (20, 20, 0.8389, 1.0)],
)  # fmt: skip
def test_wilson_interval(right: int, total: int, low: float, high: float) -> None:
    assert scores.wilson(right, total) == pytest.approx((low, high), abs=5e-5)


def test_calibration_error_by_hand() -> None:
    # 10 answers at 0.9 of which 7 are right, 10 at 0.5 of which 5 are, and 5 at 1 that are right.
    confidence = np.repeat([0.9, 0.5, 1.0], [10, 10, 5])
    right = np.concatenate([np.arange(10) < 7, np.arange(10) < 5, np.ones(5, bool)])
    bins = scores.reliability(confidence, right)
    assert len(bins) == 15
    assert [one["count"] for one in bins if one["count"]] == [10, 10, 5]
    assert bins[13] == pytest.approx(
        {"low": 13 / 15, "high": 14 / 15, "count": 10, "confidence": 0.9, "accuracy": 0.7}
    )
    assert bins[14]["count"] == 5  # a probability of 1 is in the last bin
    assert bins[0]["accuracy"] is None
    assert scores.expected_calibration_error(bins) == pytest.approx(0.2 * 10 / 25)


def test_calibration_error_is_that_of_the_paper() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.full(10, 0.3), 2000)
    right = probabilities.argmax(axis=1) == random.integers(0, 10, 2000)
    confidence = probabilities.max(axis=1)
    expected = 0.0  # Guo et al., equations 2 and 3: sum of |B| / n * |acc(B) - conf(B)|
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    bins = scores.reliability(confidence, right)
    assert scores.expected_calibration_error(bins) == pytest.approx(expected)


def test_likelihood_brier_and_auroc_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [1.0, 0.0]], np.float32)
    labels = np.array([0, 0, 0])
    likelihood = -(np.log(0.8) + np.log(0.4)) / 3
    assert scores.negative_log_likelihood(probabilities, labels) == pytest.approx(likelihood)
    assert np.isfinite(scores.negative_log_likelihood(probabilities, np.array([0, 0, 1])))
    assert scores.brier(probabilities, labels) == pytest.approx((0.08 + 0.72 + 0) / 3)
    # Pairs: 0.9 wins twice, 0.5 wins once and ties once.
    assert scores.auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1])) == pytest.approx(0.875)


def test_classes_and_confusion_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    answers = np.array([0, 0, 1, 1, 1])
    assert scores.confusion(labels, answers, 3).tolist() == [[2, 1, 0], [0, 2, 0], [0] * 3]
    first, second, none = scores.per_class(labels, answers, 3)
    assert first == pytest.approx({"count": 3, "recall": 2 / 3, "precision": 1.0, "f1": 0.8})
    assert second == pytest.approx({"count": 2, "recall": 1.0, "precision": 2 / 3, "f1": 0.8})
    assert none == {"count": 0, "recall": None, "precision": None, "f1": None}


# --- corruptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_deterministic_and_changes_pixels_alone(
    name: str, digits: np.ndarray
) -> None:
    before = digits.copy()
    changed = corrupt(name, digits, seed=3)
    assert (changed.shape, changed.dtype) == (digits.shape, np.uint8)
    assert (digits == before).all()
    assert (corrupt(name, digits, seed=3) == changed).all()
    assert ((corrupt(name, digits, seed=4) != changed).any()) == (name in RANDOM)
    assert (changed != digits).any(axis=(1, 2)).all()
    assert all(isinstance(value, int | float) for value in settings(name).values())
    assert corrupt(name, digits[:1]).shape == (1, 28, 28)


def alike(picture: np.ndarray, digits: np.ndarray) -> list[float]:
    """Correlation of a picture with each digit, of either polarity, shifted by up to 5 pixels."""
    field = np.pad(picture, 5, mode="edge").astype(np.float32)
    return [
        float(np.abs(cv2.matchTemplate(field, one.astype(np.float32), cv2.TM_CCOEFF_NORMED)).max())
        for one in digits
    ]


def undone(name: str, picture: np.ndarray) -> list[np.ndarray]:
    """What one sees who knows how the picture was turned, slanted, shrunk or striped."""
    sine, cosine = np.sin(0.4), np.cos(0.4)
    maps = {
        "rotate": [[[cosine, sign * sine], [-sign * sine, cosine]] for sign in (-1, 1)],
        "shear": [[[1, sign * sine / cosine], [0, 1 / cosine]] for sign in (-1, 1)],
        "scale": [[[0.7, 0], [0, 0.7]]],
    }.get(name)
    if name == "stripe":
        return [corrupt("stripe", picture[None])[0]]
    if maps is None:
        return [picture]
    found = []
    for linear in np.array(maps, float):
        shift = 13.5 - linear @ [13.5, 13.5]
        matrix = np.hstack([linear, shift[:, None]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        found.append(cv2.warpAffine(picture, matrix, (28, 28), flags=flags))
    return found


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_digit_can_still_be_told_from_others(name: str, digits: np.ndarray) -> None:
    some = digits[:30]
    alikeness = np.array([
        np.max([alike(one, some) for one in undone(name, picture)], axis=0)
        for picture in corrupt(name, some)
    ])  # fmt: skip
    found = (alikeness.argmax(axis=1) == np.arange(len(some))).mean()
    # Edges alone resemble the filled digit little; by chance it would be one in 30.
    assert found >= (0.5 if name == "canny_edges" else 0.9)


def test_corruptions_by_hand() -> None:
    grey = np.full((1, 28, 28), 100, np.uint8)
    assert (corrupt("inverse", grey) == 155).all()
    assert (corrupt("brightness", grey) == 228).all()  # 100 + 127.5
    assert (corrupt("brightness", 2 * grey) == 255).all()
    assert (corrupt("contrast", grey) == 100).all()
    striped = corrupt("stripe", grey)[0]
    assert (striped[:, 7:21] == 100).all()
    assert (striped[:, :7] == 155).all()
    assert (striped[:, 21:] == 155).all()
    many = np.repeat(grey, 200, axis=0)
    # 0 to 3 photons are 0, 85, 170, 255, and more than 3 are 255; 3 * 100 / 255 on the average.
    assert corrupt("shot_noise", many).mean() == pytest.approx(96.6, abs=0.5)
    assert (corrupt("impulse_noise", many) != 100).mean() == pytest.approx(0.17, abs=0.005)
    point = np.zeros((50, 28, 28), np.uint8)
    point[:, 14, 14] = 255
    moved = {tuple(np.argwhere(one)[0]) for one in corrupt("translate", point)}
    assert moved == {(11, 11), (11, 17), (17, 11), (17, 17)}
    smear = corrupt("motion_blur", point)
    assert (smear.sum(axis=(1, 2)) > 240).all()  # light is spread, not lost
    assert (smear[:, :, 15:] == 0).all()  # to one side
    assert (smear[:, 14, 14] > 0).all()


def test_the_benchmark_is_there() -> None:
    assert len(MNIST_C) == 15
    assert {"rotate", "translate", "shot_noise", "canny_edges", "fog", "zigzag"} < set(MNIST_C)
    assert {"gaussian_blur", "contrast", "inverse"} == set(CORRUPTIONS) - set(MNIST_C)


# --- non-digits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_non_digits_are_many_and_deterministic(kind: str, digits: np.ndarray) -> None:
    pictures = non_digits(kind, 30, digits)
    assert (pictures.shape, pictures.dtype) == ((30, 28, 28), np.uint8)
    assert (non_digits(kind, 30, digits) == pictures).all()
    assert (non_digits(kind, 30, digits, seed=1) != pictures).any()
    assert len({one.tobytes() for one in pictures}) > 20
    known = {one.tobytes() for one in digits}
    assert not any(one.tobytes() in known for one in pictures)


@pytest.mark.long
def test_training_sees_neither_corruptions_nor_non_digits() -> None:
    for path in (ROOT / "dlkit").rglob("*.py"):
        if path.parent.name == "evaluation":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                names += [getattr(node, "module", None) or ""]
                parts = {part for name in names for part in name.split(".")}
                assert not parts & {"corruptions", "non_digits"}, path


# --- the whole ----------------------------------------------------------------------------------


@pytest.mark.long
def test_a_method_that_always_says_seven(tmp_path: Path) -> None:
    def seven(images: np.ndarray) -> np.ndarray:
        answer = np.full((len(images), 10), 0.4 / 9, np.float32)
        answer[:, 7] = 0.6
        return answer

    data = load_labelled("mnist-mini")
    report = evaluation.measure_digits({"seven": seven}, data, Request(out=tmp_path))
    (row,) = report.rows
    assert (row["images"], row["right"], row["accuracy"]) == (1000, 100, 0.1)
    assert row["ece"] == pytest.approx(0.5, abs=1e-6)
    assert row["robustness"] == pytest.approx(0.1)
    assert row["robustness_mnist_c"] == pytest.approx(0.1)
    assert (row["non_digits_above_50"], row["non_digits_above_90"]) == (1.0, 0.0)
    assert row["auroc"] == 0.5
    details = report.details["seven"]
    assert [one["recall"] for one in details["classes"]] == [0.0] * 7 + [1.0] + [0.0] * 2
    assert [one["precision"] for one in details["classes"]] == [None] * 7 + [0.1] + [None] * 2
    assert len(report.images) == 900
    assert report.images[0] == pytest.approx(
        {"method": "seven", "image": 1, "truth": 2, "answer": 7, "probability": 0.6,
         "probability_of_truth": 0.4 / 9}
    )  # fmt: skip
    assert report.settings["corruptions"]["rotate"] == {"radians": 0.4}


def test_what_gives_no_probabilities_is_refused() -> None:
    request, data = Request(count=20), load_labelled("mnist-mini")
    broken = {
        "NaN": lambda images: np.full((len(images), 10), np.nan),
        "expected": lambda images: np.ones((len(images), 9)) / 9,
    }
    for word, method in broken.items():
        with pytest.raises(InputError, match=word):
            evaluation.measure_digits({"broken": method}, data, request)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> int:
    """The command as a shell starts it, without the seconds that a new process takes."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["dlkit", "evaluate", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def copy_of(bundle: Path, target: Path, **spec: Any) -> Path:
    shutil.copytree(bundle, target)
    data = json.loads((target / "model.json").read_text())
    data["spec"].update(spec)
    (target / "model.json").write_text(json.dumps(data))
    return target


@pytest.mark.long
def test_the_command_writes_what_recognize_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_of(DIGITS, tmp_path / "other", name="other")
    arguments = ("digits", "--compare", "other", "--compare", "digits", "--count", "150")
    assert run(monkeypatch, tmp_path, *arguments, "--out", "report", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "report" / "report.json").read_text())
    names = ["digits (fp32)", "other (fp32)", "digits (fp32) #2"]
    assert [row["method"] for row in report["rows"]] == list(report["models"]) == names
    data = load_labelled("mnist-mini")
    images, labels = data.test_images[:150], data.test_labels.tolist()[:150]
    model = dlkit.load("digits")
    answers = model.recognize(list(images))
    right = sum(answer.label == str(label) for answer, label in zip(answers, labels, strict=True))
    for row in report["rows"]:
        assert (row["images"], row["right"], row["accuracy"]) == (150, right, right / 150)
        assert row["accuracy_low"] < row["accuracy"] <= row["accuracy_high"]
        sure = np.mean([answer.probability for answer in answers])
        assert row["mean_probability"] == pytest.approx(sure, abs=1e-6)
    details = report["details"]["digits (fp32)"]
    assert np.trace(details["confusion"]) == right
    inverse = model.recognize(list(255 - images))
    share = np.mean([a.label == str(b) for a, b in zip(inverse, labels, strict=True)])
    assert details["robustness"]["inverse"]["accuracy"] == pytest.approx(share)
    wrong = [one for one in report["images"] if one["method"] == "digits (fp32)"]
    assert len(wrong) == 150 - right
    for one in wrong:
        answer = answers[one["image"]]
        assert (str(one["answer"]), one["truth"]) == (answer.label, labels[one["image"]])
        assert one["probability"] == pytest.approx(answer.probability, abs=1e-5)
    assert wrong == sorted(wrong, key=lambda one: -one["probability"])
    assert report["models"]["digits (fp32)"]["onnx_sha256"] == model.bundle.sha256
    assert len(report["settings"]["data"]["sha256"]) == 64
    assert {"date", "versions", "format"} < set(report)
    for name in ("confusion", "reliability", "mistakes", "robustness", "non_digits"):
        picture = cv2.imread(str(tmp_path / "report" / f"{name}.png"))
        assert picture.shape[0] > 200
        assert picture.std() > 10


@pytest.mark.long
def test_the_tables_name_every_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, "digits", "--count", "50") == 0
    shown = capsys.readouterr().out
    for words in ("95 % interval", "expected calibration error", "Brier", "AUROC", "silhouettes",
                  "precision", *CORRUPTIONS):  # fmt: skip
        assert words in shown
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    damaged = copy_of(DIGITS, tmp_path / "damaged")
    with (damaged / "model.onnx").open("ab") as file:
        file.write(b"more")
    (tmp_path / "file").write_text("in the way")
    for words, arguments in {
        "there is no dataset, folder or .npz file 'nothing'": ["digits", "--data", "nothing"],
        "has no data that dlkit knows": ["digits", "--data", "empty"],
        "is damaged or was changed": ["damaged"],
        "is a bundle to denoise, not to recognize": ["digits", "--compare", "mmwave"],
        "there is no bundle at": ["nothing"],
        "cannot be written to": ["digits", "--out", "file"],
    }.items():
        assert run(monkeypatch, tmp_path, *arguments) == 2, arguments
        said = capsys.readouterr().err.splitlines()
        assert said[-1].startswith("dlkit: ")
        assert words in said[-1]


def letters(folder: Path) -> Path:
    """Colour pictures of three letters, told apart by their colour, as an .npz file."""
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = random.integers(0, 60, (90, 20, 24, 3))
    images[np.arange(90), :, :, labels] += 180
    path = folder / "letters.npz"
    np.savez(path, images=images.astype(np.uint8), labels=labels, classes=np.array(["a", "b", "c"]))
    return path


class Brightest(torch.nn.Module):
    """Logits: the mean of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * x.mean((2, 3))


@pytest.mark.long
def test_other_classes_have_accuracy_and_no_corruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export(Brightest(), example=(3, 20, 24), task="recognize", labels=["a", "b", "c"], name="one")
    export(Brightest(), example=(3, 20, 24), task="recognize", labels=["c", "b", "a"], name="two")
    data = str(letters(tmp_path))
    report = evaluate("one-fp32", data, compare=["two-fp32"], out=tmp_path / "report")
    one, two = report.rows
    assert (one["images"], one["right"], one["accuracy"]) == (15, 15, 1.0)
    assert one["accuracy_low"] == pytest.approx(scores.wilson(15, 15)[0])
    assert two["right"] == 5  # a and c are each other's
    assert report.details["two (fp32)"]["confusion"] == [[0, 0, 5], [0, 5, 0], [5, 0, 0]]
    assert "robustness" not in one
    assert report.settings["classes"] == ["a", "b", "c"]
    assert report.models["one (fp32)"]["bundle"] == "one-fp32"
    made = {path.name for path in (tmp_path / "report").iterdir()}
    assert made == {"confusion.png", "reliability.png", "mistakes.png"}
    assert run(monkeypatch, tmp_path, "one-fp32", "--data", data) == 0
    shown = capsys.readouterr().out
    assert "Brier" in shown
    assert "corrupted" not in shown
    assert run(monkeypatch, tmp_path, "one-fp32") == 2
    assert "--data" in capsys.readouterr().err


def test_bundles_of_other_classes_are_not_compared(tmp_path: Path) -> None:
    other = copy_of(DIGITS, tmp_path / "letters", labels=list("abcdefghij"), pages=False)
    with pytest.raises(BundleError, match=r"recognizes a, b, c.*expected 0, 1, 2"):
        of_classes.method(dlkit.load(other), evaluation.DIGITS)
    with pytest.raises(BundleError, match="expected 0, 1, 2"):
        evaluate("digits", "mnist-mini", compare=[other], count=20)


def test_a_bundle_with_its_digits_in_another_order_is_as_good(tmp_path: Path) -> None:
    turned = copy_of(DIGITS, tmp_path / "turned", labels=list("9876543210"))
    images = load_labelled("mnist-mini").test_images[:5]
    straight = of_classes.method(dlkit.load("digits"), evaluation.DIGITS)(images)
    assert (
        of_classes.method(dlkit.load(turned), evaluation.DIGITS)(images) == straight[:, ::-1]
    ).all()


@pytest.mark.parametrize("count", [2, 60])
def test_the_confusion_picture_has_room(count: int, tmp_path: Path) -> None:
    matrix = np.diag(np.full(count, 7))
    matrix[0, 1] = 3
    names = [f"class {index}" for index in range(count)]
    draw_confusions({"one": matrix, "other": matrix}, tmp_path / "two.png", names)
    picture = cv2.imread(str(tmp_path / "two.png"))
    assert picture.shape[1] > 1.9 * picture.shape[0]
    reddest = picture[..., 2].astype(int) - picture[..., 0]
    assert reddest.max() > 60  # the mistake; the right answers are not coloured
