"""The simulator: what the measured statistics ask for, annotations that fit, files, any size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dlkit import images
from dlkit.errors import UsageError
from dlkit.mmwave import Scan, simulate
from dlkit.mmwave.folder import parse_size, write_pairs
from dlkit.mmwave.statistics import describe
from dlkit.tasks.denoise.pairs import load_pairs


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    """30 scans of people."""
    made = [simulate(seed) for seed in range(500, 532)]
    return [scan for scan in made if scan.body_mask.any()][:30]


def far_and_deep(scan: Scan, reach: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Background far from the body, and body far from its edge."""
    body = scan.body_mask.astype(np.uint8)
    out = cv2.distanceTransform(1 - body, cv2.DIST_L2, 5)
    into = cv2.distanceTransform(body, cv2.DIST_L2, 5)
    return out > reach, into > 14


def test_levels_are_those_measured_on_real_scans(scans: list[Scan]) -> None:
    means = [float(scan.noisy.mean()) for scan in scans]
    assert np.mean(means) == pytest.approx(126.9, abs=2.0)
    assert np.mean([scan.noisy.std() for scan in scans]) == pytest.approx(50.3, abs=2.5)
    background = [np.median(scan.noisy[:300][far_and_deep(scan)[0][:300]]) for scan in scans]
    assert np.median(background) == pytest.approx(102, abs=6)
    body = [np.median(scan.noisy[far_and_deep(scan)[1] & (scan.object_mask == 0)])
            for scan in scans]  # fmt: skip
    assert np.median(body) == pytest.approx(210, abs=10)


def test_stripes_have_the_measured_strength_and_correlation(scans: list[Scan]) -> None:
    strength, correlations = [], []
    for scan in scans:
        far = far_and_deep(scan)[0][:300]
        known = far.sum(axis=0) > 200
        if known.sum() < 100:
            continue
        means = ((scan.noisy[:300] * far).sum(axis=0) / np.maximum(far.sum(axis=0), 1))[known]
        rough = means - cv2.blur(means[None], (31, 1))[0]
        strength.append(rough.std())
        correlations.append([(rough[k:] * rough[:-k]).mean() / (rough**2).mean() for k in (1, 3)])
    assert 2.5 < np.median(strength) < 5.5
    near, third = np.median(correlations, axis=0)
    assert near == pytest.approx(0.95, abs=0.04)
    assert 0.35 < third < 0.75


def test_described_curves_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    body = np.zeros((678, 384), bool)
    body[200:, 150:250] = True
    columns = rng.normal(0, 2, 384)
    scan = np.where(body, 200, 100) + columns[None] + rng.normal(0, 6, body.shape)
    found = describe(np.clip(np.rint(scan), 0, 255).astype(np.uint8), body)
    assert found["histogram"].sum() == pytest.approx(1.0)
    assert found["background"] == pytest.approx(np.full(12, 100.0), abs=3)
    assert found["edge"][0] == pytest.approx(100, abs=4)
    assert found["edge"][-1] == pytest.approx(200, abs=4)
    for key in ("column_correlation", "noise_across", "noise_down"):
        assert found[key][0] == pytest.approx(1.0, abs=1e-6)
        assert np.abs(found[key][2:]).max() < 0.25  # white, less what the running means take
    assert 0.1 < found["column_spectrum"].mean() < 1.0


def test_clean_pictures_follow_one_curve_at_the_edge(scans: list[Scan]) -> None:
    crossings = []
    for scan in scans:
        clean = scan.clean[:400].astype(float)
        rows, columns = np.nonzero((clean[:, :-1] - 128) * (clean[:, 1:] - 128) < 0)
        crossings.append(np.median(scan.noisy[:400][rows, columns]))
    assert np.median(crossings) == pytest.approx(153, abs=2)  # measured: 154 and 152


def test_clean_pictures_are_black_outside_and_white_inside(scans: list[Scan]) -> None:
    white = []
    for scan in scans:
        far, deep = far_and_deep(scan, 30)
        assert (scan.clean[far] < 128).all()
        near_objects = cv2.dilate((scan.object_mask > 0).astype(np.uint8), np.ones((25, 25))) > 0
        white.append((scan.clean[deep & ~near_objects] >= 128).mean())
    assert min(white) > 0.98  # a dark stripe may go through
    assert np.mean(white) > 0.998


def test_objects_are_black_in_clean_pictures_and_where_the_boxes_say(scans: list[Scan]) -> None:
    dark = []
    for scan in scans:
        assert len(scan.boxes) == scan.object_mask.max()
        for number, (left, top, right, bottom, _) in enumerate(scan.boxes, start=1):
            here = scan.object_mask == number
            rows, columns = np.nonzero(here)
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1, rows.max() + 1) == (right, bottom)
            if here.sum() > 150:
                dark.append(scan.clean[here].mean() < 128)
    assert len(dark) > 15
    assert np.mean(dark) > 0.95


@pytest.mark.long
def test_empty_scans_have_empty_clean_pictures() -> None:
    empty = [scan for seed in range(120) if not (scan := simulate(seed, (96, 64))).body_mask.any()]
    assert empty
    assert all(scan.clean.max() == 0 and not scan.boxes for scan in empty)


@pytest.mark.long
def test_files_masks_and_boxes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dlkit", "simulate", "pairs", "--count", "9", "--seed", "40",
         "--size", "150x85", "--masks"],
        capture_output=True, text=True, cwd=tmp_path, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = tmp_path / "pairs"
    pairs = load_pairs(out)
    assert len(pairs.noisy) == 9
    scan = simulate(44, (150, 85))
    assert pairs.names[4] == "000000044"
    assert (pairs.noisy[4] == scan.noisy).all()
    assert (pairs.clean[4] == scan.clean).all()
    assert pairs.objects is not None
    assert pairs.bodies is not None
    assert (pairs.objects[4] == scan.object_mask).all()
    assert ((pairs.bodies[4] > 0) == scan.body_mask).all()
    coco = json.loads((out / "boxes.json").read_text())
    kinds = {entry["id"]: entry["name"] for entry in coco["categories"]}
    by_image: dict[int, list[tuple[object, ...]]] = {}
    for note in coco["annotations"]:
        x, y, width, height = note["bbox"]
        box = (x, y, x + width, y + height, kinds[note["category_id"]])
        by_image.setdefault(note["image_id"], []).append(box)
    assert sum(len(boxes) for boxes in by_image.values()) > 0
    for seed in range(40, 49):
        assert by_image.get(seed, []) == simulate(seed, (150, 85)).boxes
    assert [entry["file_name"] for entry in coco["images"]][4] == "noisy/000000044.png"
    assert images.read(out / "noisy" / "000000044.png").shape == (150, 85)

    again = subprocess.run(
        [sys.executable, "-m", "dlkit", "simulate", "pairs"],
        capture_output=True, text=True, cwd=tmp_path, timeout=200, check=False,
    )  # fmt: skip
    assert again.returncode == 2
    assert "not empty" in again.stderr


@pytest.mark.long
def test_workers_do_not_change_the_pairs(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_pairs(tmp_path / str(workers), range(8), (64, 48), workers=workers)
    files = sorted((tmp_path / "1").rglob("*.png"))
    assert len(files) == 16
    for file in files:
        other = tmp_path / "2" / file.relative_to(tmp_path / "1")
        assert file.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("text", ["678", "678x", "12x64", "64x99999", "axb", "64x64x64"])
def test_sizes_that_cannot_be_are_said(text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        parse_size(text)
