"""The task detect: what is hidden on simulated scans is found, and said the same everywhere."""

from __future__ import annotations

import csv
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
from dlkit.mmwave.concealment import CONCEALMENT, Observed
from dlkit.runtime.folders.object_table import COCO, ObjectForm
from dlkit.runtime.folders.table_files import open_file_table
from dlkit.runtime.model import Opened, _anywhere
from dlkit.runtime.session import runnable
from dlkit.spec import ModelSpec
from dlkit.tasks import Session
from dlkit.tasks.detect import TASK, Detector
from dlkit.tasks.detect.objects import ConcealedObject, Detection
from dlkit.tasks.detect.scans import (
    EVALUATION_SEED,
    boxes_of,
    held_out_scans,
)
from dlkit.tasks.detect.score import (
    at_threshold,
    average_precision,
    match,
)
from dlkit.tasks.detect.with_denoiser import DenoiserWithObjects

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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
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
    with open_file_table(tmp_path / "o.json", ObjectForm(), COCO) as table:
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


@pytest.mark.long
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
