"""The task generate: noise in, the same pictures out everywhere, of the class that is asked for."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from typer.testing import CliRunner

import dlkit
from dlkit import images
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import BundleError, InputError, UsageError
from dlkit.evaluation import class_score, generated
from dlkit.evaluation.evaluate import evaluate_bundles
from dlkit.evaluation.features import Seen
from dlkit.evaluation.manifold import frechet_distance, nearest, neighbourhoods
from dlkit.export.api import export, verify
from dlkit.export.build_options import BuildOptions
from dlkit.export.engine import build_engine
from dlkit.runtime.session import runnable
from dlkit.tasks.generate import TASK, Generator
from dlkit.tasks.generate.grid import grid
from dlkit.tasks.generate.neighbours import coverage, nearest_labels
from dlkit.tasks.generate.noise import between, codes
from dlkit.tasks.recognize.datasets import load_labelled

SHIPPED = "digit_maker"


def cli(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dlkit", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


@pytest.fixture(scope="module")
def model() -> Any:
    with dlkit.load(SHIPPED, device="cpu") as loaded:
        assert isinstance(loaded, Generator)
        yield loaded


# --- noise ---


def test_noise_depends_on_seed_and_row_alone() -> None:
    few, many = codes(3, 8, 5), codes(7, 8, 5)
    assert few.dtype == np.float32
    assert np.array_equal(few, many[:3])
    assert not np.array_equal(few, codes(3, 8, 6))
    assert not np.array_equal(few[0], few[1])
    wide = codes(2000, 8, 0)
    assert abs(float(wide.mean())) < 0.03
    assert float(wide.std()) == pytest.approx(1, abs=0.03)


def test_classes_are_one_hot_behind_the_noise() -> None:
    made = codes(3, 4, 0, np.array([2, 0, 1]), 3)
    assert np.array_equal(made[:, 4:], np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]))
    assert np.array_equal(made[:, :4], codes(3, 4, 0))


def test_truncation_draws_again_and_clips_nothing() -> None:
    made, whole = codes(300, 8, 0, truncation=0.5), codes(300, 8, 0)
    assert float(np.abs(made).max()) <= 0.5
    inside = np.abs(whole) <= 0.5
    assert np.array_equal(made[inside], whole[inside])
    assert len(np.unique(made[~inside])) == (~inside).sum()
    for wrong in (0.0, "mild", math.nan):
        with pytest.raises(UsageError, match=f"truncation is {wrong!r} .*a number, 0.1 or more"):
            codes(1, 8, 0, truncation=wrong)  # type: ignore[arg-type]


def test_the_way_between_two_noises_keeps_their_length() -> None:
    first, last = codes(2, 64, 0, np.array([0, 1]), 2)
    way = between(first, last, 64, 9)
    assert np.allclose(way[0], first)
    assert np.allclose(way[-1], last, atol=1e-6)
    lengths = np.linalg.norm(way[:, :64], axis=1)
    shortest = min(lengths[0], lengths[-1])
    assert lengths.min() > 0.98 * shortest  # straight between them it would be 0.7 of it
    assert np.allclose(way[:, 64:].sum(1), 1)
    assert np.allclose(way[4, 64:], 0.5)


def test_a_grid_holds_every_picture_in_its_place() -> None:
    pictures = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 5), np.uint8)
    whole = grid(pictures, 3)
    assert whole.shape == (2 * 6 + 2, 3 * 7 + 2)
    for place in range(6):
        row, column = divmod(place, 3)
        part = whole[2 + 6 * row : 6 + 6 * row, 2 + 7 * column : 7 + 7 * column]
        assert np.array_equal(part, pictures[place])
    assert grid(np.zeros((5, 4, 4, 3), np.uint8)).shape == (2 * 6 + 2, 3 * 6 + 2, 3)


# --- the shipped bundle ---


def test_the_shipped_generator_makes_the_digit_that_is_asked_for(model: Generator) -> None:
    asked = list("3141592653") * 20
    made = model.generate(len(asked), asked, seed=3)
    assert made.shape == (200, 28, 28)
    assert made.dtype == np.uint8
    with dlkit.load("digits", device="cpu") as digits:
        read = [one.label for one in digits.recognize(list(made))]
    right = sum(one == other for one, other in zip(read, asked, strict=True))
    assert right >= 0.95 * len(asked)
    assert len(np.unique(made.reshape(200, -1), axis=0)) == 200
    assert model.bundle.onnx.stat().st_size < 2_000_000


def test_every_backend_makes_the_same_pictures(model: Generator) -> None:
    expected = model.generate(20, seed=1).astype(int)
    ways = [way for way in runnable(model.bundle) if way[1] == "cpu"]
    assert len(ways) >= 2
    for backend, device in ways:
        with dlkit.load(SHIPPED, backend, device) as other:
            assert isinstance(other, Generator)
            if other.opened.session.arithmetic:
                continue  # it computes in another type
            gap = np.abs(other.generate(20, seed=1, batch=7) - expected)
            assert gap.max() <= 1, backend
            assert (gap > 0).mean() < 0.001, backend


def test_labels_may_be_one_or_each_or_take_turns(model: Generator) -> None:
    sevens = model.generate(3, "7", seed=2)
    assert np.array_equal(sevens, model.generate(3, 7, seed=2))
    assert np.array_equal(sevens, model.generate(3, ["7", "7", "7"], seed=2))
    turns = model.generate(12, seed=2)
    assert np.array_equal(turns, model.generate(12, [*range(10), 0, 1], seed=2))
    with pytest.raises(UsageError, match="unknown label 'x'"):
        model.generate(1, "x")
    with pytest.raises(UsageError, match="2 labels for 3 images"):
        model.generate(3, [1, 2])
    with pytest.raises(UsageError, match="count is 0"):
        model.generate(0)


def test_ways_begin_and_end_at_the_pictures_themselves(model: Generator) -> None:
    ends = model.generate(3, seed=4).astype(int)
    ways = model.interpolate(2, 5, seed=4).astype(int)
    assert ways.shape == (10, 28, 28)
    for place, end in ((0, 0), (4, 1), (5, 1), (9, 2)):
        assert np.abs(ways[place] - ends[end]).max() <= 1


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("--count", 6, "--label", 7, "--seed", 0, "--backend", "onnxruntime")
    done = cli("generate", *options, "--out", "grid.png", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "grid.png")
    with dlkit.load(SHIPPED, "onnxruntime", "cpu") as loaded:
        assert isinstance(loaded, Generator)
        made = loaded.generate(6, "7", seed=0)
    assert np.array_equal(cv2.imread(str(tmp_path / "grid.png"), 0), grid(made))

    def run(*words: object) -> Any:
        return CliRunner().invoke(app, ["generate", *map(str, words)])

    monkeypatch.chdir(tmp_path)
    again = run(*options, "--out", "grid.png").exception
    assert isinstance(again, UsageError)
    assert "is there already" in again.what

    assert run(SHIPPED, *options, "--label", 3, "--out", "made.npz").exit_code == 0
    with np.load(tmp_path / "made.npz") as file:
        assert file["labels"].tolist() == [7, 3, 7, 3, 7, 3]
        assert np.array_equal(file["images"][::2], made[::2])
    assert load_labelled(str(tmp_path / "made.npz")).digits

    assert run("--count", 3, "--out", "each").exit_code == 0
    assert sorted(one.name for one in (tmp_path / "each").iterdir()) == [
        "000000-0.png", "000001-1.png", "000002-2.png",
    ]  # fmt: skip
    assert run("--count", 2, "--interpolate", 4, "--out", "ways.png").exit_code == 0
    assert cv2.imread(str(tmp_path / "ways.png"), 0).shape == (2 * 30 + 2, 4 * 30 + 2)
    other = run("digits").exception
    assert isinstance(other, BundleError)
    assert "dlkit recognize" in str(other)


def generate(*words: object) -> Any:
    """The command, in this process."""
    return CliRunner().invoke(app, ["generate", *map(str, words), "--backend", "onnxruntime"])


def test_overwrite_takes_the_earlier_runs_pictures_away_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "d"
    assert generate("--count", 5, "--out", out).exit_code == 0
    others = {
        "notes.txt": b"mine",
        "000003-mine.png": images.encode(np.zeros((4, 4), np.uint8), ".png"),
        "kept.png": (out / "000004-4.png").read_bytes(),
    }
    for name, data in others.items():
        (out / name).write_bytes(data)
    assert isinstance(generate("--count", 2, "--out", out).exception, UsageError)
    assert generate("--count", 2, "--label", 1, "--out", out, "--overwrite").exit_code == 0
    found = {one.name: one.read_bytes() for one in out.iterdir()}
    assert set(found) == {"000000-1.png", "000001-1.png", *others}
    assert {name: found[name] for name in others} == others
    assert images.read(out / "000000-1.png").shape == (28, 28)


def test_what_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Generator, "of_codes", lambda *_: pytest.fail("pictures were made"))
    refused = {
        ("--interpolate", 3, "--out", tmp_path / "x.npz"): "holds no ways",
        ("--columns", 3, "--out", tmp_path / "x.npz"): "--columns is of a picture of all",
        ("--columns", 3, "--out", tmp_path / "each"): "is a folder",
        ("--truncation", 0.05, "--out", tmp_path / "x.png"): "0.05 (float), expected a number, 0.1",
        ("--label", "x", "--out", tmp_path / "x.png"): "unknown label 'x'",
    }
    for words, message in refused.items():
        error = generate("--count", 2, *words).exception
        assert isinstance(error, UsageError)
        assert message in str(error)
    assert not list(tmp_path.iterdir())


def test_columns_and_truncation_of_the_command(model: Generator, tmp_path: Path) -> None:
    options = ("--count", 6, "--seed", 3, "--truncation", 0.5, "--columns", 2)
    assert generate(*options, "--out", tmp_path / "grid.png").exit_code == 0
    made = model.generate(6, seed=3, truncation=0.5)
    found = images.read(tmp_path / "grid.png").astype(int)
    assert found.shape == (3 * 30 + 2, 2 * 30 + 2)
    assert np.abs(found - grid(made, 2)).max() <= 1
    assert np.abs(found - grid(model.generate(6, seed=3), 2)).max() > 50


def test_a_folder_of_codes_runs_like_any_other(model: Generator, tmp_path: Path) -> None:
    made = codes(3, model.latent, 9, np.array([1, 2, 3]), 10)
    folder = tmp_path / "codes"
    folder.mkdir()
    np.save(folder / "one.npy", made[0])
    np.save(folder / "three.npy", made)
    np.save(folder / "wrong.npy", made[0].astype(np.float64))
    tally = model.run_folder(folder, tmp_path / "out")
    assert (tally.done, tally.failed) == (2, 1)
    assert "float64" in tally.failures[0][1]
    pictures = model.of_codes(made)
    assert np.array_equal(images.read(tmp_path / "out" / "one.npy.png"), pictures[0])
    assert np.array_equal(images.read(tmp_path / "out" / "three.npy.png"), grid(pictures))


# --- export, proof, engines ---


@pytest.mark.long
def test_every_precision_is_verified_against_torch(
    bundle_of: Callable[[str, str], Bundle],
) -> None:
    for precision in ("fp32", "fp16", "int8"):
        found = verify(bundle_of("cgan", precision), count=100)
        assert found.reference.name == "torch fp32, the run's weights"
        assert set(found.reference.metrics) == {"label_knn", "coverage"}
        assert all(row.within for row in found.measured if row.precision == precision)


@pytest.mark.long
def test_a_half_engine_computes_in_half(bundle_of: Callable[[str, str], Bundle]) -> None:
    bundle = bundle_of("cgan", "fp16")
    engine, _ = build_engine(bundle, BuildOptions(flavor="tensorrt_rtx"))
    assert engine.proof["multiply_adds"]["fp16"] >= 0.95


@pytest.mark.long
def test_a_network_without_classes_refuses_labels(bundle_of: Callable[[str, str], Bundle]) -> None:
    with dlkit.load(bundle_of("gan", "fp32"), device="cpu") as loaded:
        assert isinstance(loaded, Generator)
        assert loaded.generate(2).shape == (2, 28, 28)
        with pytest.raises(UsageError, match="knows no classes"):
            loaded.generate(2, 7)


def test_somebody_elses_module_generates_in_colour(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 3 * 8 * 12), nn.Tanh(), nn.Unflatten(1, (3, 8, 12)))
    bundle = export(net, example=(6,), task="generate", out=tmp_path / "net", name="net")
    assert (bundle.spec.labels, bundle.spec.colour) == ((), "rgb")
    with dlkit.load(bundle, device="cpu", task="generate") as loaded:
        made = loaded.generate(2)
        assert made.shape == (2, 8, 12, 3)
        with torch.inference_mode():
            wanted = net(torch.from_numpy(codes(2, 6, 0))).numpy()
    assert np.abs(made[..., ::-1].transpose(0, 3, 1, 2) - (wanted + 1) * 127.5).max() <= 1
    refused = generate(bundle.path, "--label", 1, "--out", tmp_path / "no.png").exception
    assert isinstance(refused, UsageError)
    assert "knows no classes" in str(refused)
    assert generate(bundle.path, "--count", 2, "--out", tmp_path / "each").exit_code == 0
    assert sorted(one.name for one in (tmp_path / "each").iterdir()) == ["000000.png", "000001.png"]
    assert np.array_equal(images.read(tmp_path / "each" / "000001.png"), made[1])
    found = verify(bundle, net)
    assert not found.reference.metrics  # nobody knows what it should make
    with pytest.raises(UsageError, match="gives images"):
        export(nn.Linear(6, 3), example=(6,), task="generate", out=tmp_path / "no")


def test_no_precision_may_make_other_digits(model: Generator) -> None:
    """One in ten of another class is more than any tolerance has."""
    made = model.generate(100, seed=5)
    other = made.copy()
    other[::10] = model.generate(100, [*range(1, 10), 0] * 10, seed=5)[::10]
    gap = np.abs(made.astype(int) - other).mean()
    assert gap > max(one.mean for one in TASK.tolerances.values())


def test_specs_that_cannot_be_are_refused(model: Generator) -> None:
    spec = model.bundle.spec

    narrow = replace(spec, inputs=(replace(spec.input, shape=("n", 10)),))
    with pytest.raises(BundleError, match="more than 10 labels"):
        TASK.check(narrow)
    with pytest.raises(BundleError, match="expected uint8"):
        TASK.check(replace(spec, outputs=(replace(spec.output, dtype="float32"),)))


# --- what is measured ---


def test_neighbours_know_their_labels_and_what_is_covered() -> None:
    real = load_labelled("mnist-mini")
    shown, labels = real.train_images[:800], real.train_labels[:800]
    assert np.array_equal(nearest_labels(shown, labels, shown[:50]), labels[:50])
    assert coverage(shown, shown) == 1.0
    assert coverage(shown, shown[labels == 1]) < 0.3
    assert coverage(shown, np.zeros_like(shown)) < 0.05


def test_the_figures_tell_what_is_wrong() -> None:
    """Of points on a plane: the same, one kind missing, far away."""
    random = np.random.default_rng(0)
    real, same = (random.normal(0, 1, (600, 2)).astype(np.float32) for _ in range(2))
    half = same[same[:, 0] > 0]
    alike = neighbourhoods(real, same)
    assert min(alike["precision"], alike["recall"], alike["coverage"]) > 0.93
    assert alike["density"] == pytest.approx(1, abs=0.12)
    lost = neighbourhoods(real, half)
    assert lost["precision"] > 0.93
    assert lost["recall"] < 0.7
    assert lost["coverage"] < 0.65
    far = neighbourhoods(real, same + 20)
    assert max(far.values()) == 0
    assert frechet_distance(real, same) < 0.05
    assert frechet_distance(real, real + np.float32(3)) == pytest.approx(18, rel=1e-3)
    assert frechet_distance(real, real * 2) == pytest.approx(2, rel=0.15)
    places, distances = nearest(real[:5] + np.float32(1e-3), real)
    assert places.tolist() == [0, 1, 2, 3, 4]
    assert distances.max() < 1e-4


def test_the_evaluation_of_digits(tmp_path: Path) -> None:
    report = evaluate_bundles([SHIPPED], count=300, slow=0, out=tmp_path)
    real, made = report.rows
    assert real["method"] == "real digits"
    assert real["label_accuracy"] > 0.98
    assert made["label_accuracy"] > 0.95
    assert made["frechet"] > 0
    assert made["coverage"] > 0.6
    assert 0.3 < made["nearer_to_training"] < 0.7
    assert made["class_score"] is None
    assert {"grid-digit-maker--fp32.png", "nearest-digit-maker--fp32.png"} <= {
        one.name for one in tmp_path.iterdir()
    }
    other = evaluate_bundles([SHIPPED], count=300, slow=0, seed=1)
    assert other.rows[1]["frechet"] != made["frechet"]


class FakeRecogniser:
    """Sees the same features in all digits, and answers as its probabilities say."""

    about = "a fake"

    def __init__(self, probabilities: NDArray[np.float32]) -> None:
        self.probabilities = probabilities

    def __call__(self, digits: NDArray[np.uint8]) -> Seen:
        features = np.random.default_rng(0).normal(0, 1, (len(digits), 4)).astype(np.float32)
        return Seen(features, np.resize(self.probabilities, (len(digits), 10)))

    def __enter__(self) -> FakeRecogniser:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("probabilities", "score", "rarest"),
    [
        (np.eye(10), 10.0, 0.1),  # sure, and of all classes
        (np.eye(10)[:1], 1.0, 0.0),  # one class alone
        (np.full((1, 10), 0.1), 1.0, 0.0),  # sure of nothing
        (np.eye(10)[[0, 0, 0, 1]], float(np.exp(0.5623351)), 0.0),  # entropy of 3:1
        (np.eye(10)[[*range(9), *range(10), 8]], None, 0.05),  # the nine once in twenty
    ],
)
def test_the_mnist_score_and_the_rarest_class_are_what_they_say(
    probabilities: NDArray[Any], score: float | None, rarest: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fake = FakeRecogniser(probabilities.astype(np.float32))
    monkeypatch.setattr(generated, "Recogniser", lambda: fake)
    made = evaluate_bundles([SHIPPED], count=20, slow=0).rows[1]
    assert made["rarest_class"] == pytest.approx(rarest)
    if score is not None:
        assert made["mnist_score"] == pytest.approx(score, rel=1e-4)


def test_the_class_score_is_of_a_network_that_saw_generated_digits_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}

    def train(recipe: str, data: str, out: Path, **options: Any) -> Any:
        with np.load(data) as file:
            seen.update(file)
        seen["recipe"] = recipe
        return SimpleNamespace(load_log=lambda: [{"test_accuracy": 0.5}, {"test_accuracy": 0.75}])

    monkeypatch.setattr(class_score, "train", train)
    monkeypatch.setattr(generated, "_TRAINED_ON", 200)
    report = evaluate_bundles([SHIPPED], count=30, slow=1)
    assert [row["class_score"] for row in report.rows] == [None, 0.75]
    real = load_labelled("mnist-mini")
    assert seen["recipe"] == "lenet_relu"
    assert seen["x_train"].shape == (200, 28, 28)
    assert np.array_equal(np.bincount(seen["y_train"]), np.full(10, 20))
    assert np.array_equal(seen["x_test"], real.test_images)
    assert np.array_equal(seen["y_test"], real.test_labels)
    with dlkit.load("digits", device="cpu") as digits:
        read = [int(one.label) for one in digits.recognize(list(seen["x_train"]))]
    assert np.mean(np.array(read) == seen["y_train"]) > 0.9  # each under the class it was asked for


@pytest.mark.long
def test_a_network_learns_real_digits_from_generated_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generated, "_TRAINED_ON", 3000)
    report = evaluate_bundles([SHIPPED], count=30, slow=1)
    assert report.rows[1]["class_score"] > 0.85


def test_damaged_codes_are_said(model: Generator) -> None:
    with pytest.raises(InputError, match="a code is float32"):
        model.of_codes(np.zeros((1, 3), np.float32))
    with pytest.raises(InputError, match="NaN"):
        model.of_codes(np.full((1, model.latent + 10), np.nan, np.float32))


@pytest.mark.parametrize("wrong", [2.5, "3", True, None])
def test_counts_and_seeds_are_whole_numbers(wrong: Any) -> None:
    with dlkit.load("digit_maker") as maker:
        for ask in (
            lambda: maker.generate(wrong),
            lambda: maker.generate(2, seed=wrong),
            lambda: maker.interpolate(wrong, 2),
        ):
            with pytest.raises(UsageError, match="expected a whole number"):
                ask()
        assert maker.generate(np.int32(2), seed=np.int64(1)).shape == (2, 28, 28)  # type: ignore[arg-type]


def test_too_few_digits_to_compare_are_said() -> None:
    with pytest.raises(InputError, match=r"3 test digits .*--count 6 or more"):
        dlkit.evaluate("digit_maker", count=3)
