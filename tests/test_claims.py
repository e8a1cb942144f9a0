"""A manifest says what dlkit read, and what it wrote where; what others edited does not count."""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import DlkitError, InputError, UsageError
from dlkit.tasks.recognize.datasets import load_labelled

from .long import long, long_but
from .test_ownership import answers


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def digits(digits_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    for path in sorted(digits_folder.iterdir())[:3]:
        shutil.copy(path, folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("command", ["recognize", "detect"])
@pytest.mark.parametrize("linked", [False, long(True)])
def test_a_folder_of_pictures_that_no_dlkit_wrote_into(
    command: str, linked: bool, scans: Path, tmp_path: Path
) -> None:
    table, seen, backup = tmp_path / "p.csv", tmp_path / "seen", tmp_path / "backup"
    shutil.copytree(scans, backup)
    before = contents(backup)
    if linked:
        first = tmp_path / "first"
        first.mkdir()
        seen.symlink_to(first)
        assert run(command, scans, "--out", table, "--annotate", seen).exit_code == 0
        seen.unlink()
        seen.symlink_to(backup)
    else:
        assert run(command, scans, "--out", table).exit_code == 0
        seen = backup
    done = run(command, scans, "--out", table, "--annotate", seen)
    assert done.exit_code == 1
    assert "does not say that dlkit wrote it" in done.output
    assert contents(backup) == before


def test_what_one_bundle_wrote_is_not_where_another_writes(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("mine")
    assert run("run", "objects", scans, "--out", out).exit_code == 0
    assert (out / "a.png.json").is_file()
    done = run("denoise", scans, "--out", out)
    assert "1 done, 1 failed" in done.output
    assert (out / "a.png").read_text() == "mine"
    shutil.move(out, tmp_path / "moved")  # with its manifest: what is there stays dlkit's
    (tmp_path / "moved" / "a.png").unlink()
    cv2.imwrite(str(scans / "b.png"), np.zeros((64, 48), np.uint8))
    done = run("denoise", scans, "--out", tmp_path / "moved")
    assert "2 done, 0 failed" in done.output


def test_what_one_bundle_put_is_not_where_another_puts(scans: Path, tmp_path: Path) -> None:
    out = f"file://{tmp_path}/out"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").write_text("mine")
    assert run("run", "objects", scans, "--out", out).exit_code == 0
    assert "1 done, 1 failed" in run("denoise", scans, "--out", out).output
    assert (tmp_path / "out" / "a.png").read_text() == "mine"
    cv2.imwrite(str(scans / "b.png"), np.zeros((64, 48), np.uint8))
    assert "1 done, 1 failed" in run("denoise", scans, "--out", out).output  # b is its own


def test_a_picture_elsewhere_is_no_picture_here(digits: Path, tmp_path: Path) -> None:
    """Of the same size, as dlkit drew it: but it is not dlkit's to say that it is done."""
    table, seen, other = tmp_path / "p.csv", tmp_path / "seen", tmp_path / "other"
    assert run("recognize", digits, "--out", table, "--annotate", seen).exit_code == 0
    shutil.copytree(seen, other)
    again = run("recognize", digits, "--out", table, "--annotate", other)
    assert "0 done, 3 failed" in again.output
    second = run("recognize", digits, "--out", tmp_path / "two.csv", "--annotate", seen)
    # dlkit wrote them, by another table's manifest, which is not asked
    assert "this manifest does not say that dlkit wrote it. Choose another folder" in second.output
    assert "3 done before" in run("recognize", digits, "--out", table, "--annotate", seen).output


def test_folders_that_are_renamed(tmp_path: Path) -> None:
    """Files of one size, one date, and one tick of the clock, as tar leaves neighbours."""
    data = load_labelled("mnist-mini")
    paths = [tmp_path / f"take-{label}" / "digit.bmp" for label in (1, 8)]
    coded = []
    for path, label in zip(paths, (1, 8), strict=True):
        path.parent.mkdir()
        digit = data.test_images[int(np.flatnonzero(data.test_labels == label)[0])]
        coded.append(cv2.imencode(".bmp", digit)[1].tobytes())
    for _ in range(1000):
        for path, content in zip(paths, coded, strict=True):
            path.write_bytes(content)
        for path in paths:
            os.utime(path, (1_700_000_000, 1_700_000_000))
        if len({path.stat().st_ctime_ns for path in paths}) == 1:
            break
    else:
        pytest.skip("this clock's ticks are too short")
    take, out = tmp_path / "take", tmp_path / "p.csv"
    paths[0].parent.rename(take)
    assert run("recognize", take, "--out", out).exit_code == 0
    assert answers(out) == {"digit.bmp": "1"}
    assert "1 done before" in run("recognize", take, "--out", out).output
    take.rename(tmp_path / "old")
    paths[1].parent.rename(take)
    assert "\n1 done, 0 failed" in run("recognize", take, "--out", out).output
    assert answers(out) == {"digit.bmp": "8"}


def test_archives_that_are_renamed(tmp_path: Path) -> None:
    """The inode is part of an archive's state, too."""
    digit = load_labelled("mnist-mini").test_images[0]
    cv2.imwrite(str(tmp_path / "x.png"), digit)
    (tmp_path / "in").mkdir()
    archive = tmp_path / "in" / "a.tar"
    with tarfile.open(archive, "w") as file:
        file.add(tmp_path / "x.png", "x.png")
    assert run("recognize", tmp_path / "in", "--out", tmp_path / "p.csv").exit_code == 0
    (line,) = [
        json.loads(one)
        for one in (tmp_path / "p.csv.manifest.jsonl").read_text().splitlines()
        if '"file"' in one
    ]
    assert line["etag"].endswith(f"-{archive.stat().st_ino}")


@pytest.mark.parametrize("text", [long('{"dataset":"mine"}'), '{"check": "mine"}', long("x\ny")])
def test_a_manifest_of_others_stays(text: str, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    manifest = out / "manifest.jsonl"
    manifest.write_text(text)
    beside = tmp_path / "p.csv.manifest.jsonl"
    beside.write_text(text)
    for done in (
        run("denoise", scans, "--out", out),
        run("recognize", scans, "--out", tmp_path / "p.csv"),
        run("denoise", scans, "--out", f"file://{out}"),
    ):
        assert isinstance(done.exception, InputError), done.output
        assert "is no manifest of dlkit's" in str(done.exception)
    assert manifest.read_text() == beside.read_text() == text
    assert run("denoise", scans, "--out", out, "--overwrite").exit_code == 0
    assert "2 done before" in run("denoise", scans, "--out", out).output


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_no_input_is_replaced_through_a_link_to_another(
    kind: str, scans: Path, tmp_path: Path
) -> None:
    before = contents(scans)
    out = tmp_path / "out"
    out.mkdir()
    given = scans
    if kind == "file":
        (out / "a.png").symlink_to(scans / "b.png")
    else:  # of another folder of the inputs
        given = tmp_path / "in"
        (given / "one").mkdir(parents=True)
        shutil.copy(scans / "a.png", given / "one" / "a.png")
        (given / "two").symlink_to(scans)
        (out / "one").symlink_to(scans)
    for more in ([], ["--overwrite"]):
        done = run("denoise", given, "--out", out, "--follow-symlinks", *more)
        assert done.exit_code == 1
        assert "is another input, or leads to one" in done.output.replace("\n", " ")
        assert contents(scans) == before


@pytest.mark.parametrize("way", ["", "file://"])
def test_no_input_is_replaced_by_the_output_of_another(
    way: str, scans: Path, tmp_path: Path
) -> None:
    """b/b/b/a.png has the name b/b/a.png, as another input is called where it goes."""
    out = tmp_path / "out"
    below = out / "b" / "b"
    shutil.copytree(scans, below / "b")
    shutil.copy(scans / "b.png", below / "a.png")
    before = (below / "a.png").read_bytes()
    inputs = (f"{way}{below}", f"{way}{scans}")
    done = run("denoise", *inputs, "--out", f"{way}{out}", "--overwrite")
    assert done.exit_code == 1
    assert "another input" in done.output.replace("\n", " ")
    assert (below / "a.png").read_bytes() == before


@pytest.mark.parametrize("way", ["", long("file://")])
def test_a_table_that_was_corrected_stays(way: str, digits: Path, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    arguments = ("recognize", digits, "--out", f"{way}{table}")
    assert run(*arguments).exit_code == 0
    assert "3 done before" in run(*arguments).output
    mine = table.read_bytes() + b"mine.png,7,1.0,\r\n"
    table.write_bytes(mine)
    done = run(*arguments)
    assert isinstance(done.exception, UsageError)
    assert "was changed since dlkit wrote it" in str(done.exception)
    assert table.read_bytes() == mine
    assert run(*arguments, "--overwrite").exit_code == 0
    assert len(answers(table)) == 3
    table.unlink()
    assert "3 done before" in run(*arguments).output
    assert len(answers(table)) == 3


@pytest.mark.long
def test_tables_of_shards_and_of_objects(digits: Path, scans: Path, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    shards: Callable[[str], Any] = lambda one: run(  # noqa: E731
        "recognize", digits, "--out", table, "--shard", one
    )
    assert [shards(one).exit_code for one in ("0/1", "join", "0/1", "join")] == [0] * 4
    table.write_text("mine")
    assert shards("0/1").exit_code == 0
    assert "was changed since" in str(shards("join").exception)
    assert table.read_text() == "mine"
    table.unlink()
    assert shards("join").exit_code == 0
    objects = tmp_path / "o.csv"
    arguments = ("denoise", scans, "--out", tmp_path / "out", "--objects", objects)
    assert [run(*arguments).exit_code for _ in range(2)] == [0, 0]
    objects.write_text("mine")
    assert "was changed since" in str(run(*arguments).exception)
    assert objects.read_text() == "mine"


def test_a_kill_before_the_table_takes_its_place(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "p.csv"
    assert run("recognize", digits, "--out", table).exit_code == 0
    (digits / next(iter(contents(digits)))).unlink()
    replace = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if target == table:
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        run("recognize", digits, "--out", table)
    assert len(answers(table)) == 3
    assert run("recognize", digits, "--out", table).exit_code == 0
    assert len(answers(table)) == 2


@pytest.mark.parametrize("way", ["", "file://"])
def test_images_among_the_outputs_are_said(way: str, scans: Path, tmp_path: Path) -> None:
    out = scans / "2024"
    out.mkdir()
    (scans / "b.png").rename(out / "mine.png")
    arguments = ("denoise", f"{way}{scans}", "--out", f"{way}{out}")
    for _ in range(2):
        done = run(*arguments)
        assert done.exit_code == 0, done.output
        text = done.output.replace("\n", " ")
        assert "left out 1 files in the folder of the outputs" in text
        assert "2024/mine.png" in text
        assert "1 left out" in text
    assert {path.name for path in out.iterdir()} == {"a.png", "mine.png", "manifest.jsonl"}


EDITS = {
    "another digit": (r'"digit": "\d"', '"digit": "x"'),
    "no digit": (r'"digit": "\d", ', ""),
    "odd value": (r'"probability": [\d.]+', '"probability": "high"'),
}


@pytest.mark.parametrize("edit", long_but(["odd value"], EDITS))
def test_an_edited_line_does_not_count(edit: str, digits: Path, tmp_path: Path) -> None:
    table, manifest = tmp_path / "p.csv", tmp_path / "p.csv.manifest.jsonl"
    assert run("recognize", digits, "--out", table).exit_code == 0
    before = table.read_bytes()
    lines = manifest.read_text().splitlines(keepends=True)
    at = next(at for at, line in enumerate(lines) if '"file"' in line)
    edited = re.sub(*EDITS[edit], lines[at])
    assert edited != lines[at]
    lines[at] = edited
    manifest.write_text("".join(lines))
    for done in ("2 done before, 1 done", "3 done before"):
        again = run("recognize", digits, "--out", table)
        text = again.output.replace("\n", " ")
        assert again.exit_code == 0
        assert "left out 1 lines of the manifest, damaged or edited" in text
        assert done in text
        assert table.read_bytes() == before
    assert run("recognize", digits, "--out", table, "--overwrite").exit_code == 0
    assert "left out" not in run("recognize", digits, "--out", table).output


def test_edited_records_of_shards_are_refused(digits: Path, tmp_path: Path) -> None:
    arguments = ("recognize", digits, "--out", tmp_path / "p.csv", "--shard")
    assert run(*arguments, "0/1").exit_code == 0
    (record,) = tmp_path.rglob("done/*.jsonl")
    text = record.read_text()
    record.write_text(text.replace('"probability": ', '"probability": 1', 1))
    refused = run(*arguments, "join").exception
    assert isinstance(refused, DlkitError)
    assert "line 1 is damaged or was edited" in str(refused)
    record.unlink()
    assert run(*arguments, "0/1").exit_code == 0
    assert run(*arguments, "join").exit_code == 0


def test_arrays_are_not_drawn_and_it_is_said(tmp_path: Path) -> None:
    folder, seen = tmp_path / "arrays", tmp_path / "seen"
    folder.mkdir()
    np.save(folder / "x.npy", load_labelled("mnist-mini").test_images[:3])
    done = run("recognize", folder, "--out", tmp_path / "p.csv", "--annotate", seen)
    assert done.exit_code == 0
    assert "read, not drawn" in done.output


@pytest.mark.parametrize("command", ["recognize", "detect"])
def test_a_table_in_the_place_of_a_picture(command: str, scans: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    done = run(command, scans, "--out", seen / "a.png", "--annotate", seen)
    assert isinstance(done.exception, UsageError)
    assert "has the name of a picture" in str(done.exception)
    assert run(command, scans, "--out", seen / "p.csv", "--annotate", seen).exit_code == 0
