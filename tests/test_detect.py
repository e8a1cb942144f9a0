"""The task detect: what is hidden on simulated scans is found, and said the same everywhere."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import dlkit
from dlkit import images
from dlkit.cli import app
from dlkit.errors import BundleError, InputError, UsageError
from dlkit.evaluation.dark_regions import dark_regions
from dlkit.evaluation.gaps import alarmed, gaps_of
from dlkit.mmwave.concealment import CONCEALMENT, Observed, observe
from dlkit.runtime.folders.object_table import COCO, ObjectForm
from dlkit.runtime.folders.table_files import open_table
from dlkit.runtime.model import Opened, _anywhere
from dlkit.runtime.session import runnable
from dlkit.spec import ModelSpec
from dlkit.tasks import Session
from dlkit.tasks.detect import TASK, Detector
from dlkit.tasks.detect.decode import decode, mask_of, overlap
from dlkit.tasks.detect.objects import ConcealedObject, Detection
from dlkit.tasks.detect.scans import (
    EVALUATION_SEED,
    HELD_OUT_SEED,
    PROOF_SEED,
    THRESHOLD_SEED,
    boxes_of,
    first_seed,
    held_out_scans,
)
from dlkit.tasks.detect.score import (
    at_false_alarms,
    at_threshold,
    average_precision,
    match,
    strict_precision,
)
from dlkit.tasks.detect.with_denoiser import DenoiserWithObjects
from dlkit.training.detect.maps import cropped, draw

SHIPPED = "objects"


def command(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def model() -> Iterator[Detector]:
    with dlkit.load(SHIPPED, device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def observed() -> list[Observed]:
    return held_out_scans(EVALUATION_SEED + 900_000, 16)


@pytest.fixture
def scans(observed: list[Observed], tmp_path: Path) -> Path:
    for number, one in enumerate(observed[:4]):
        images.write(tmp_path / "scans" / f"{number}.png", one.noisy)
    return tmp_path / "scans"


# --- the simulator ---


def test_boxes_are_what_shows_before_the_body(observed: list[Observed]) -> None:
    assert sum(len(one.hidden) for one in observed) > 10
    for one in observed:
        assert one.noisy.shape == one.labels.shape == one.body.shape == (678, 384)
        assert not (one.labels > 0)[~one.body].any()
        for number, thing in enumerate(one.hidden, start=1):
            rows, columns = np.nonzero(one.labels == number)
            left, top, width, height = thing.box
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1 - left, rows.max() + 1 - top) == (width, height)


def test_the_same_seed_gives_the_same_scan_with_all_kinds() -> None:
    first, again = observe(5, (170, 96)), observe(5, (170, 96))
    assert np.array_equal(first.noisy, again.noisy)
    assert first.hidden == again.hidden
    things = [thing for seed in range(150) for thing in observe(seed, (170, 96)).hidden]
    assert {thing.place for thing in things} == {"trunk", "limb", "outline"}
    assert any(thing.contrast < 0 for thing in things)
    assert any(0 < thing.contrast < 0.58 for thing in things)
    assert {"plate", "pistol"} <= {thing.kind for thing in things}


def test_dark_objects_are_darker_than_the_body_around_them(observed: list[Observed]) -> None:
    for one in observed:
        for number, thing in enumerate(one.hidden, start=1):
            here = one.labels == number
            near = cv2.dilate(here.astype(np.uint8), np.ones((41, 41))) > 0
            around = near & one.body & (one.labels == 0)
            if thing.place == "trunk" and here.sum() > 800 and abs(thing.contrast) > 0.4:
                darker = float(one.noisy[around].mean()) - float(one.noisy[here].mean())
                assert (darker > 0) == (thing.contrast > 0)


def test_seeds_of_training_and_of_what_is_kept_out_never_meet() -> None:
    kept_out = sorted((HELD_OUT_SEED, PROOF_SEED, THRESHOLD_SEED, EVALUATION_SEED))
    assert first_seed(99, 1000) + 1000 <= kept_out[0]
    assert all(b - a >= 100_000 for a, b in itertools.pairwise(kept_out))
    for seed, count in ((100, 1), (-1, 1), (0, 20_000_000)):
        with pytest.raises(UsageError, match="would take those of others"):
            first_seed(seed, count)


# --- decoding ---


def maps(*things: tuple[float, float, float, float, float]) -> np.ndarray[Any, Any]:
    """Maps of a scan of 128 x 96 with these boxes, left, top, width, height, and chances."""
    answer = np.zeros((6, 32, 24), np.float32)
    for left, top, width, height, chance in things:
        row, column = int((top + height / 2) / 4), int((left + width / 2) / 4)
        x, y = (column + 0.5) * 4, (row + 0.5) * 4
        sides = (x - left, y - top, left + width - x, top + height - y)
        answer[0, row, column] = chance
        answer[2:, row, column] = np.log(np.array(sides) / 16)
        answer[
            1, int(top / 4) : int((top + height) / 4), int(left / 4) : int((left + width) / 4)
        ] = 1
    return answer


def test_boxes_come_back_from_maps() -> None:
    answer = maps((10, 20, 30, 17, 0.9), (60, 80, 12, 40, 0.4))
    answer[1] = 0
    found = decode(answer, (128, 96))
    expected = [[10, 20, 30, 17, 0.9], [60, 80, 12, 40, 0.4]]
    assert np.allclose(found, expected, atol=1e-3)
    assert found.dtype == np.float32


def test_a_mask_draws_the_box_towards_its_sides() -> None:
    answer = maps((16, 16, 40, 60, 0.9))
    answer[2:] += 0.3 * (answer[0] > 0)  # a third too large
    alone = answer.copy()
    alone[1] = 0
    truth = boxes((16, 16, 40, 60))
    without, found = (decode(one, (128, 96))[:, :4] for one in (alone, answer))
    assert overlap(without, truth)[0, 0] < 0.7
    assert overlap(found, truth)[0, 0] > overlap(without, truth)[0, 0] + 0.1


def test_what_is_padded_is_cut_off_and_twice_the_same_is_one() -> None:
    answer = maps((60, 80, 30, 40, 0.8), (60, 84, 30, 40, 0.5))
    answer[1] = 0
    found = decode(answer, (100, 80))
    assert len(found) == 1
    assert np.allclose(found[0], [60, 80, 20, 20, 0.8], atol=1e-3)
    assert len(decode(answer, (128, 96), least=0.9)) == 0
    assert decode(np.zeros((6, 8, 8), np.float32), (32, 32)).shape == (0, 5)


def test_masks_lie_where_the_map_says() -> None:
    answer = maps((16, 20, 24, 16, 0.9))
    mask = mask_of(answer, (8, 12, 40, 32))
    expected = np.zeros((32, 40), bool)
    expected[8:24, 8:32] = True
    assert mask.shape == (32, 40)
    assert float((mask != expected).mean()) < 0.02  # corners are round


def test_a_plateau_is_one_peak_and_peaks_are_not_endless() -> None:
    flat = np.zeros((6, 300, 300), np.float32)
    flat[0], flat[2:] = 0.5, -4
    assert len(decode(flat, (1200, 1200))) == 1
    flat[0] = 0
    flat[0, ::2, ::2] = np.linspace(0.1, 0.9, 150 * 150).reshape(150, 150)
    found = decode(flat, (1200, 1200))
    assert len(found) == 1000
    assert found[0, 4] == pytest.approx(0.9)


# --- training ---


def test_what_training_asks_for_is_what_decoding_gives(observed: list[Observed]) -> None:
    asked = draw(observed, 32)
    answers = np.concatenate([asked.heat[:, None], asked.mask[:, None], asked.sides], axis=1)
    found = [decode(answer, (678, 384), least=0.99) for answer in answers]
    truth = [boxes_of(one) for one in observed]
    assert average_precision(match(found, truth)) > 0.95
    assert strict_precision(found, truth) > 0.7


def test_crops_keep_what_shows_and_forget_the_rest(observed: list[Observed]) -> None:
    random = np.random.default_rng(0)
    for one in observed:
        cut = cropped(random, one, 288)
        assert cut.noisy.shape == cut.body.shape == (678, 288)
        assert len(cut.hidden) == len(set(np.unique(cut.labels).tolist()) - {0})
        for thing in cut.hidden:
            left, _, width, _ = thing.box
            assert 0 <= left < left + width <= 288
        assert cropped(random, one, 0) is one


@pytest.mark.long
def test_a_short_training_goes_the_whole_way(tmp_path: Path) -> None:
    few = {"steps": 2, "epochs": 1, "batch_size": 1, "held_out": 1, "thresholds": 2}
    run = dlkit.train("detector", out=tmp_path / "run", **few)
    assert run.finished
    bundle = dlkit.export(run)
    with dlkit.load(bundle, task="detect", device="cpu") as loaded:
        assert set(loaded.thresholds) == {"high", "normal", "low"}
        assert len(loaded.detect([observe(3, (170, 96)).noisy])) == 1
    with pytest.raises(UsageError, match="simulated"):
        dlkit.train("detector", data=str(tmp_path), out=tmp_path / "other", **few)


# --- scores ---


def boxes(*rows: tuple[float, ...]) -> np.ndarray[Any, Any]:
    return np.array(rows, np.float32).reshape(len(rows), -1)


def test_average_precision_of_known_answers() -> None:
    truth = [boxes((0, 0, 10, 10), (50, 50, 10, 10)), np.zeros((0, 4), np.float32)]
    perfect = [boxes((0, 0, 10, 10, 0.9), (50, 50, 10, 10, 0.8)), np.zeros((0, 5), np.float32)]
    assert average_precision(match(perfect, truth)) == pytest.approx(1)
    assert strict_precision(perfect, truth) == pytest.approx(1)
    twice = [boxes((0, 0, 10, 10, 0.9), (0, 1, 10, 10, 0.85), (50, 50, 10, 10, 0.8)), perfect[1]]
    matched = match(twice, truth)
    assert matched.right.tolist() == [True, False, True]
    # recalls up to a half at precision 1, the others at 2 of 3
    assert average_precision(matched) == pytest.approx((51 + 50 * 2 / 3) / 101)
    moved = [boxes((4, 0, 10, 10, 0.9)), perfect[1]]  # 60 of 140 shared
    assert not match(moved, truth).right.any()
    assert match(moved, truth, 0.4).right.all()
    assert average_precision(match([perfect[1]] * 2, truth)) == 0
    assert overlap(boxes((0, 0, 10, 10)), boxes((5, 0, 10, 10)))[0, 0] == pytest.approx(1 / 3)


def test_thresholds_by_false_alarms() -> None:
    truth = [boxes((0, 0, 10, 10))] * 10
    found = [boxes((0, 0, 10, 10, 0.9 - 0.01 * k), (50, 50, 9, 9, 0.5 + 0.01 * k))
             for k in range(10)]  # fmt: skip
    matched = match(found, truth)
    strict = at_false_alarms(matched, 0.0)
    assert (strict.recall, strict.false_alarms) == (1.0, 0.0)
    assert strict.threshold == pytest.approx(0.81)
    some = at_false_alarms(matched, 0.3)
    assert some.false_alarms == pytest.approx(0.3)
    assert at_threshold(matched, 0.85).recall == pytest.approx(0.6)


# --- classical, and gaps ---


def test_dark_regions_inside_a_bright_person() -> None:
    cleaned = np.zeros((200, 120), np.uint8)
    cleaned[20:180, 30:90] = 255
    cleaned[80:100, 50:70] = 0
    found = dark_regions(cleaned)
    assert len(found) == 1
    assert found[0, :4].tolist() == [50, 80, 20, 20]
    assert 0 < found[0, 4] < 1
    assert len(dark_regions(np.zeros((50, 50), np.uint8))) == 0


def test_gaps_are_what_body_surrounds() -> None:
    body = np.zeros((200, 160), bool)
    body[20:180, 40:120] = True
    body[60:120, 60:76] = False  # between arm and trunk
    gaps = gaps_of(body)
    assert gaps.max() == 1
    assert gaps[90, 68] == 1
    assert gaps[10, 10] == 0
    assert alarmed(boxes((60, 70, 16, 30, 0.9)), gaps) == 1
    assert alarmed(boxes((90, 70, 16, 30, 0.9)), gaps) == 0
    assert alarmed(np.zeros((0, 5), np.float32), gaps) == 0


# --- the shipped network ---


def test_fresh_scans_objects_are_found(model: Detector, observed: list[Observed]) -> None:
    found = [model.boxes(model.opened.session(model.prepare(one.noisy)[0][None])[0], (678, 384))
             for one in observed]  # fmt: skip
    matched = match(found, [boxes_of(one) for one in observed])
    assert average_precision(matched) > 0.5
    assert at_threshold(matched, model.threshold).false_alarms < 0.5


def test_every_backend_says_the_same(model: Detector, observed: list[Observed]) -> None:
    answers = []
    for name, device in runnable(model.bundle):
        if device == "cpu" and not name.endswith("bf16"):
            with dlkit.load(SHIPPED, backend=name, device=device) as loaded:
                answers.append(loaded.detect([one.noisy for one in observed[:4]], "high"))
    assert len(answers) > 1
    for other in answers[1:]:
        for one, same in zip(answers[0], other, strict=True):
            assert len(one.objects) == len(same.objects)
            for thing, its in zip(one.objects, same.objects, strict=True):
                assert abs(thing.score - its.score) < 1e-3
                assert abs(thing.x - its.x) + abs(thing.width - its.width) <= 1


def test_sensitivities_are_ordered_and_measured(model: Detector, observed: list[Observed]) -> None:
    assert set(model.thresholds) == {"high", "normal", "low"}
    counts = [
        sum(len(one.objects) for one in model.detect([o.noisy for o in observed], name))
        for name in ("high", "normal", "low")
    ]
    assert counts[0] >= counts[1] >= counts[2]
    recalls = [model.measured[name].recall for name in ("high", "normal", "low")]
    assert recalls == sorted(recalls, reverse=True)
    with pytest.raises(UsageError, match="sensitivity"):
        model.detect([observed[0].noisy], "extreme")


def test_depths_channels_and_sizes(model: Detector, observed: list[Observed]) -> None:
    scan = observed[0].noisy
    wide = scan.astype(np.uint16) * 257
    colour = cv2.cvtColor(scan, cv2.COLOR_GRAY2BGR)
    answers = model.detect([scan, wide, colour])
    assert answers[0].record() == answers[1].record() == answers[2].record()
    (small,) = model.detect([scan[:301, :203]])
    assert (small.height, small.width) == (301, 203)
    for one in small.objects:
        assert 0 <= one.x < one.x + one.width <= 203
        assert 0 <= one.y < one.y + one.height <= 301
        assert one.mask.shape == (one.height, one.width)
    false = np.stack([scan, 255 - scan, scan], axis=2)
    with pytest.raises(InputError, match="in colours"):
        model.detect([false])


def test_the_door_answers_json(model: Detector, observed: list[Observed]) -> None:
    reply = model.reply(images.encode(observed[0].noisy, ".png"), {"sensitivity": "high"})
    assert reply.media_type == "application/json"
    (answer,) = model.detect([observed[0].noisy], "high")
    assert json.loads(reply.content) == answer.record()
    with pytest.raises(UsageError, match="option"):
        model.reply(b"", {"colour": "red"})


def test_floats_that_are_no_scan_are_refused(scans: Path, tmp_path: Path) -> None:
    with dlkit.load(SHIPPED, device="cpu") as detector, dlkit.load("mmwave") as denoiser:
        detector.range = denoiser.range = (0, 1)
        for model in (detector, denoiser):
            for bad in (np.nan, np.inf, -np.inf):
                scan = np.full((64, 64), 0.5, np.float32)
                scan[3, 3] = bad
                with pytest.raises(InputError, match="has NaN or infinity"):
                    model.answers([scan], 1)
                data = images.encode(scan, ".tiff")
                with pytest.raises(InputError, match="has NaN or infinity"):
                    model.reply(data, {"range": "0:1"})
            for shape in ((0, 4), (9,), (64, 64, 2), (2, 64, 64, 1), (64, 64, 7)):
                with pytest.raises(InputError, match="has shape"):
                    model.answers([np.zeros(shape, np.float32)], 1)
            assert len(model.answers([np.full((64, 64), 0.5, np.float32)], 1)) == 1
    images.write(tmp_path / "floats" / "a.tiff", scan)
    for name, out in (("detect", "a.csv"), ("denoise", "cleaned")):
        result = command(name, tmp_path / "floats", "--out", tmp_path / out, "--range", "0:1")
        assert result.exit_code == 1
        assert "has NaN or infinity" in result.output


# --- folders ---


def test_tables_of_all_forms_agree(scans: Path, tmp_path: Path, model: Detector) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    (scans / "broken.png").write_bytes(b"nothing")
    lines: list[dict[str, Any]] = []
    for form in ("jsonl", "csv", "parquet", "json"):
        more = ("--format", "coco") if form == "json" else ()
        out = tmp_path / f"objects.{form}"
        result = command("detect", scans, "--out", out, "--sensitivity", "high", *more)
        assert result.exit_code == 1, result.output
        assert "broken.png" in result.output
        assert "objects on 4 scans" in result.output
    text = (tmp_path / "objects.jsonl").read_text().splitlines()
    lines = [json.loads(line) for line in text]
    direct = {
        path.name: model.detect([images.read(path)], "high")[0].record()
        for path in scans.glob("[0-9].png")
    }
    assert {line.pop("file"): line for line in lines if "error" not in line} == direct
    with (tmp_path / "objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table(tmp_path / "objects.parquet").to_pylist()
    count = sum(len(one["objects"]) for one in direct.values())
    assert count > 0
    assert len([row for row in rows if row["object"]]) == count
    assert [row["score"] or None for row in rows] == [
        None if row["score"] is None else str(row["score"]) for row in table
    ]
    assert sum(bool(row["error"]) for row in rows) == 1
    coco = json.loads((tmp_path / "objects.json").read_text())
    assert len(coco["images"]) == 4
    assert list(coco["info"]["failed"]) == ["broken.png"]
    names = {one["id"]: one["file_name"] for one in coco["images"]}
    for one in coco["annotations"]:
        there = direct[names[one["image_id"]]]["objects"]
        sides = ("x", "y", "width", "height")
        same = [thing for thing in there if [thing[key] for key in sides] == one["bbox"]]
        assert [thing["area"] for thing in same] == [one["area"]]


def test_a_second_run_goes_on_and_pictures_are_drawn(scans: Path, tmp_path: Path) -> None:
    out, seen = tmp_path / "objects.csv", tmp_path / "seen"
    words = ("detect", scans, "--out", out, "--annotate", seen)
    assert command(*words).exit_code == 0
    table = out.read_text()
    picture = images.read(seen / "0.png")
    assert picture.shape == (678, 384, 3)
    again = command(*words)
    assert "4 done before, 0 done" in again.output
    assert out.read_text() == table
    other = command(*words, "--sensitivity", "high")
    assert "done before" not in other.output


def test_what_cannot_be_is_refused(scans: Path, tmp_path: Path) -> None:
    assert command("detect", scans, "--sensitivity", "extreme").exit_code != 0
    for words, what in (
        (("--format", "voc"), "format"),
        (("--format", "coco", "--out", tmp_path / "x.csv"), "json"),
        (("--annotate", scans), "overwritten"),
        (("--model", "mmwave"), "denoise"),
    ):
        result = command("detect", scans, *words)
        assert result.exit_code != 0
        assert what in str(result.exception) + result.output


def test_denoise_finds_objects_in_the_same_pass(scans: Path, tmp_path: Path) -> None:
    both, alone, plain = (tmp_path / name for name in ("both", "alone.jsonl", "plain"))
    table = tmp_path / "both.jsonl"
    words = ("denoise", scans, "--out", both, "--objects", table, "--sensitivity", "high")
    first = command(*words)
    assert first.exit_code == 0, first.output
    assert "on 4 scans" in first.output
    assert command("detect", scans, "--out", alone, "--sensitivity", "high").exit_code == 0
    assert command("denoise", scans, "--out", plain).exit_code == 0
    by_file = [sorted(path.read_text().splitlines()) for path in (table, alone)]
    assert by_file[0] == by_file[1]
    for path in plain.glob("*.png"):
        assert path.read_bytes() == (both / path.name).read_bytes()
    kept = table.read_text()
    assert "4 done before, 0 done" in command(*words).output
    assert table.read_text() == kept


def test_tables_replace_no_input_and_nothing_of_others(scans: Path, tmp_path: Path) -> None:
    cleaned, table, link = tmp_path / "cleaned", tmp_path / "own.csv", tmp_path / "link.csv"
    link.symlink_to(scans / "0.png")
    assert command("denoise", scans, "--out", cleaned).exit_code == 0
    table.write_text("mine")
    before = {path: path.read_bytes() for path in (*scans.iterdir(), *cleaned.iterdir(), table)}

    def refused(*words: object) -> str:
        result = command(*words)
        assert result.exit_code, words
        return str(result.exception)

    denoise = ("denoise", scans, "--out", cleaned, "--objects")
    assert "no dlkit wrote it" in refused(*denoise, table)
    for more in ((), ("--overwrite",)):
        for name in ("manifest.jsonl", "0.png", "new.csv"):
            assert "is in --out" in refused(*denoise, cleaned / name, *more)
        for bad in (scans / "0.png", scans / "new.png", link):
            for words in (denoise, ("detect", scans, "--out"), ("recognize", scans, "--out")):
                assert "where the inputs are" in refused(*words, bad, *more)
            if bad.exists():
                for name in ("detect", "recognize"):
                    assert "is an input" in refused(name, scans / "0.png", "--out", bad, *more)
    assert {path: path.read_bytes() for path in before} == before
    assert command(*denoise, table, "--overwrite").exit_code == 0
    assert "4 done before, 0 done" in command(*denoise, table).output
    assert len(table.read_text().splitlines()) > 4


def test_the_detector_is_loaded_as_the_denoiser_is(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("denoise", scans, "--out", tmp_path / "out", "--objects", tmp_path / "o.csv")
    for one in ("--detector", "--sensitivity"):
        result = command("denoise", scans, "--out", tmp_path / "out", one, "high")
        assert isinstance(result.exception, UsageError)
        assert "there is no --objects" in str(result.exception)
    plain = tmp_path / "plain"  # without a certificate, and without sensitivities
    dlkit.Bundle.open(SHIPPED).copy(plain).with_certificate(None)
    written = json.loads((plain / "model.json").read_text())
    del written["spec"]["options"]["sensitivity"]
    (plain / "model.json").write_text(json.dumps(written))
    done = command(*words, "--detector", plain)
    assert done.exit_code == 0, done.output
    for result in (done, command("detect", scans, "--model", plain, "--out", tmp_path / "p.csv")):
        assert "threshold of 0.35 is a guess" in result.output
        assert f"{plain} has no certificate" in result.output.replace("\n", "")
    refused = command(*words, "--detector", plain, "--require-certificate")
    assert isinstance(refused.exception, BundleError)
    opened: list[object] = []
    monkeypatch.setattr("dlkit.runtime.model.open_session", opened.append)
    for bad in (command(*words, "--sensitivity", "odd"),
                command("detect", scans, "--sensitivity", "odd")):  # fmt: skip
        assert isinstance(bad.exception, UsageError)
    assert not opened


def test_shards_count_objects_when_there_is_a_table(scans: Path, tmp_path: Path) -> None:
    for words in (
        ("detect", scans, "--out", tmp_path / "d.csv"),
        ("denoise", scans, "--out", tmp_path / "out", "--objects", tmp_path / "o.csv"),
    ):
        for shard in ("plan", "0/1"):
            result = command(*words, "--shard", shard)
            assert result.exit_code == 0, result.output
            assert "objects on" not in result.output.replace("objects (fp32) on", "")
        assert "on 4 scans" in command(*words, "--shard", "join").output
        assert words[-1].exists()  # type: ignore[attr-defined]
        assert command(*words, "--shard", "plan").exit_code == 0


def test_a_bug_of_finding_objects_is_no_bad_input(
    model: Detector, observed: list[Observed], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("what is behind it")

    with dlkit.load("mmwave", device="cpu") as denoiser:
        both = DenoiserWithObjects(denoiser, model)
        assert len(both.answers([observed[0].noisy], 1)) == 1
        with monkeypatch.context() as patch:
            patch.setattr(Detector, "infer", broken)
            with pytest.raises(RuntimeError, match="behind"):
                both.answers([observed[0].noisy], 1)
        with monkeypatch.context() as patch:
            patch.setattr(type(model.opened.session), "__call__", broken)
            with pytest.raises(InputError, match="failed: what is behind it"):
                both.detector.answers([observed[0].noisy], 1)


def test_pictures_of_formats_without_colours_are_png(
    observed: list[Observed], tmp_path: Path
) -> None:
    small = np.ascontiguousarray(observed[0].noisy[:128, :128])
    for ending in ("gif", "pgm", "pnm", "png"):
        images.write(tmp_path / "in" / f"a.{ending}", small)
    for name in ("detect", "recognize"):
        seen = tmp_path / name
        result = command(name, tmp_path / "in", "--out", tmp_path / f"{name}.csv",
                         "--annotate", seen)  # fmt: skip
        assert result.exit_code == 0, result.output
        names = {path.name for path in seen.iterdir()}
        assert names == {"a.gif.png", "a.pgm.png", "a.pnm.png", "a.png"}
        assert all(images.read(path).shape == (128, 128, 3) for path in seen.iterdir())


def test_coco_has_every_name_and_an_outline_for_every_object(tmp_path: Path) -> None:
    odd = os.fsdecode(b"a\xff.png")
    thin = ConcealedObject(4, 5, 3, 2, 0.5, np.zeros((2, 3), np.bool_))
    lines = [{"file": odd, **Detection((thin,), 32, 32).record()},
             {"file": f"b{odd}", "error": "is none"}]  # fmt: skip
    with open_table(tmp_path / "o.json", ObjectForm(), COCO) as table:
        table.add_lines(lines)
    whole = json.loads((tmp_path / "o.json").read_bytes().decode("utf-8"))
    assert whole["images"][0]["file_name"] == "a\\xff.png"
    assert list(whole["info"]["failed"]) == ["ba\\xff.png"]
    assert whole["annotations"][0]["segmentation"] == [[4, 5, 7, 5, 7, 7, 4, 7]]


# --- bundles ---


def test_a_spec_of_another_form_is_refused(model: Detector) -> None:
    spec = model.bundle.spec
    TASK.check(spec)
    data, known = spec.to_json(), spec.options["sensitivity"]
    for change, what in (
        ({"colour": "rgb"}, "grey"),
        ({"outputs": [{"name": "found", "dtype": "float32", "shape": ["n", 5, "h", "w"]}]}, "6"),
        ({"options": {"sensitivity": {**known, "high": {"threshold": 2}}}}, "threshold"),
        ({"options": {"sensitivity": {"high": known["high"]}}}, "without 'normal'"),
        ({"options": {"sensitivity": ["normal"]}}, "by name"),
        ({"options": {"sensitivity": "normal"}}, "by name"),
        ({"options": {"sensitivity": {"normal": "half"}}}, "'half'"),
    ):
        with pytest.raises(BundleError, match=what):
            TASK.check(ModelSpec.from_json({**data, **change}))


def test_evaluation_counts_groups_and_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, closed = [], []

    def beside(self: Opened, bundle: dlkit.Bundle) -> Session:
        session = _anywhere(bundle)
        opened.append(session)
        monkeypatch.setattr(session, "close", lambda: closed.append(session))
        return session

    monkeypatch.setattr(Opened, "beside", beside)
    result = command("evaluate", SHIPPED, "--count", 8, "--out", tmp_path / "report")
    assert opened == closed != []
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    rows = {row["method"]: row for row in report["rows"]}
    assert [name.split(",")[0] for name in rows][:2] == ["dark regions"] * 2
    name = next(reversed(rows))
    for kind in ("size", "contrast", "place"):
        of = report["details"][name]["recall"][kind].values()
        assert sum(one[1] for one in of) == rows[name]["objects"]
    assert report["rows"][0]["gaps"] > 0
    assert (tmp_path / "report" / "free_response.png").exists()
    assert CONCEALMENT.clutter > 0
