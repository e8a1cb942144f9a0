"""Evaluation: each measure on cases whose answer is known, and the whole command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dlkit import images
from dlkit.cli import app
from dlkit.errors import InputError, UsageError
from dlkit.evaluation import classical
from dlkit.evaluation import scan_metrics as metrics
from dlkit.evaluation import scans as evaluation
from dlkit.evaluation.evaluate import evaluation_of
from dlkit.evaluation.report import Evaluation, Request
from dlkit.export.api import evaluate, export
from dlkit.mmwave import simulate
from dlkit.mmwave.folder import write_pairs
from dlkit.tasks import TASKS
from dlkit.tasks.denoise.score import psnr
from dlkit.tasks.tensors import Tensors


def body() -> np.ndarray:
    mask = np.zeros((200, 160), bool)
    mask[20:, 40:120] = True
    return mask


def white_body() -> np.ndarray:
    return body().astype(np.uint8) * np.uint8(255)


def test_psnr_inside_sees_the_region_alone() -> None:
    clean = white_body()
    wrong = clean.copy()
    wrong[:20] = 255  # all errors are outside
    assert metrics.psnr_inside(clean, wrong, body()) == 100.0
    assert psnr(clean, wrong) < 20
    wrong = clean.copy()
    wrong[body()] = 230
    assert metrics.psnr_inside(clean, wrong, body()) == pytest.approx(20 * np.log10(255 / 25))
    assert metrics.psnr_inside(clean, clean, np.zeros_like(body())) is None


def test_stripes_are_measured_in_grey_levels_and_levels_do_not_count() -> None:
    clean = np.where(body(), 200, 0).astype(np.uint8)
    striped = clean.copy()
    striped[:, ::2] = np.where(body()[:, ::2], 210, 0)
    assert metrics.stripes(clean, striped, body()) == pytest.approx(5.0, rel=0.1)
    assert metrics.stripes(clean, np.where(body(), 180, 0).astype(np.uint8), body()) == (
        pytest.approx(0, abs=1e-6)
    )
    assert metrics.stripes(clean, striped, np.zeros_like(body())) is None


def test_an_object_that_is_painted_over_is_seen() -> None:
    labels = np.zeros((200, 160), np.uint8)
    labels[80:100, 60:90] = 1
    labels[150:160, 60:70] = 2
    kept = white_body()
    kept[labels == 1] = 10
    first, second = metrics.objects(kept, labels, body())
    assert (first["pixels"], first["grey"]) == (600, 10.0)
    assert first["contrast"] == pytest.approx(245 / 255)
    assert second["contrast"] == pytest.approx(0.0)
    assert second["pixels"] == 100


def test_a_false_object_is_seen_and_a_true_one_is_none() -> None:
    clean, dark = white_body(), white_body()
    dark[80:95, 70:85] = 0  # 225 pixels
    assert metrics.false_object(clean, dark, body())
    assert not metrics.false_object(dark, dark, body())
    button = white_body()
    button[80:90, 70:80] = 0  # 100 pixels
    assert not metrics.false_object(clean, button, body())
    thin = white_body()
    thin[60:160, 70:73] = 0  # 300 pixels, a stripe
    assert metrics.false_object(clean, thin, body())
    assert not metrics.false_object(clean, thin, body(), width=7)
    assert metrics.false_object(clean, dark, body(), width=7)
    at_edge = white_body()
    at_edge[80:110, 40:50] = 0  # the silhouette's own edge
    assert not metrics.false_object(clean, at_edge, body())
    cut_feet = white_body()
    cut_feet[188:, 60:90] = 0  # beside the frame, inside the body: 360 pixels
    assert metrics.false_object(clean, cut_feet, body())


def test_classical_rows() -> None:
    scan = simulate(900)
    cleaned = {name: method(scan.noisy) for name, method in classical.FAST.items()}
    assert all(image.shape == scan.noisy.shape and image.dtype == np.uint8
               for image in cleaned.values())  # fmt: skip
    score = {name: psnr(scan.clean, image) for name, image in cleaned.items()}
    assert score["raw scan"] < 12
    assert score["fixed levels curve"] > 17
    assert score["destriping and Otsu"] > 17
    assert (cleaned["all black"] == 0).all()
    for name, method in classical.SLOW.items():
        smooth = method(scan.noisy[200:300, 100:200])
        assert smooth.std() < scan.noisy[200:300, 100:200].std(), name


@pytest.mark.long
def test_a_perfect_and_a_blind_method(tmp_path: Path) -> None:
    write_pairs(tmp_path, range(318, 326), (678, 384), masks=True, workers=1)
    answers = {
        images.read(path).tobytes(): images.read(tmp_path / "clean" / path.name)
        for path in (tmp_path / "noisy").iterdir()
    }
    methods = {
        "perfect": lambda scan: answers[scan.tobytes()],
        "painter": lambda scan: np.full_like(scan, 255),
    }
    report = evaluation.measure_scans(methods, Request(str(tmp_path), slow=0))
    rows = {row["method"]: row for row in report.rows}
    assert rows["perfect"]["psnr"] == 100.0
    assert rows["perfect"]["ssim"] == pytest.approx(1.0)
    assert rows["perfect"]["objects_kept"] == rows["perfect"]["without_false_region"] == 1.0
    assert rows["perfect"]["stripes"] == 0.0
    assert rows["perfect"]["contrast"] > 0.6
    assert rows["painter"]["objects_kept"] == 0.0
    assert rows["painter"]["contrast"] == 0.0
    assert rows["painter"]["objects_counted"] >= 4
    assert rows["all black"]["objects_kept"] == 1.0
    assert rows["all black"]["without_false_object"] == 0.0
    assert rows["all black"]["psnr"] < rows["fixed levels curve"]["psnr"]


@pytest.mark.long
def test_the_command_writes_a_report_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--count", "2", "--slow", "1", "--compare", "mmwave", "--out", "report"]
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["evaluate", "mmwave", *arguments])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    names = [row["method"] for row in report["rows"]]
    assert names[:4] == list(classical.FAST)
    assert len(report["models"]) == 2
    assert all(len(model["onnx_sha256"]) == 64 for model in report["models"].values())
    assert "7x7" in report["settings"]["ssim"]
    assert len(report["images"]) == 2 * 6 + 2
    picture = cv2.imread(str(tmp_path / "report" / "methods.png"), cv2.IMREAD_GRAYSCALE)
    assert picture.shape[0] > 7 * 250  # input, six methods, two bundles less two, target
    assert "report" in done.output


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        evaluation.measure_scans({}, Request(str(tmp_path / "nothing")))


class Doubled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(0, 1)


@pytest.mark.long
def test_colour_images_are_scored_by_their_pairs(tmp_path: Path) -> None:
    for side, level in (("noisy", 90), ("clean", 100)):
        (tmp_path / side).mkdir()
        for index in range(2):
            image = np.full((32, 48, 3), (level, 50, 60), np.uint8)
            cv2.imwrite(str(tmp_path / side / f"{index}.png"), image)
    bundle = export(
        Doubled(), example=(3, 32, 48), task="denoise", name="same", out=tmp_path / "bundle"
    )
    (row,) = evaluate(bundle, str(tmp_path)).rows
    error = 10**2 / 3  # of one channel, ten levels
    assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)
    assert row["images"] == 2


def test_every_task_has_an_evaluation() -> None:
    for name in TASKS.names():
        assert isinstance(evaluation_of(TASKS.load(name)), Evaluation)

    class Broken(Tensors):
        evaluation = "dlkit.spec"

    with pytest.raises(UsageError, match="EVALUATION"):
        evaluation_of(Broken())


@pytest.mark.long
def test_tensors_that_nobody_knows_the_answers_of_are_not_scored(tmp_path: Path) -> None:
    bundle = export(torch.nn.Linear(3, 2), example=(3,), out=tmp_path / "bundle")
    with pytest.raises(InputError, match="there is no metric"):
        evaluate(bundle, "random")
