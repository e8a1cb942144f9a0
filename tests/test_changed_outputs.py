"""An output counts as done, and may be replaced, as long as it is what dlkit wrote there last."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.runtime.folders.lines import checked

from .long import long


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(done: Any) -> str:
    return str(done.output).replace("\n", " ")


@pytest.fixture
def digits(digits_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    for path in sorted(digits_folder.iterdir())[:3]:
        shutil.copy(path, folder / path.name)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".jsonl"}


def forget(manifest: Path, *kinds: str) -> None:
    """Take lines of some kinds out of a manifest."""
    lines = manifest.read_text().splitlines(keepends=True)
    left = [line for line in lines if not any(f', "{kind}": ' in line for kind in kinds)]
    assert len(left) < len(lines)
    manifest.write_text("".join(left))


@pytest.mark.parametrize("way", ["", long("file://")])
def test_outputs_of_one_size_one_after_the_other(way: str, scans: Path, tmp_path: Path) -> None:
    """Of BMP files the size does not tell whose they are; what came last counts."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder, path in zip(folders, sorted(scans.iterdir()), strict=True):
        folder.mkdir()
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(folder / "s.bmp"), cv2.resize(np.asarray(grey), (48, 64)))
    out = tmp_path / "out"
    first, second = (("denoise", f"{way}{one}", "--out", f"{way}{out}") for one in folders)
    assert "1 done, 0 failed" in said(run(*first))
    wanted = contents(out)
    assert "1 done before" in said(run(*first))
    assert "1 done, 0 failed" in said(run(*second))
    assert contents(out) != wanted
    again = said(run(*first))
    assert "done before" not in again
    assert "1 done, 0 failed" in again
    assert contents(out) == wanted


def test_pictures_of_one_size_one_after_the_other(digits: Path, tmp_path: Path) -> None:
    first, second = sorted(digits.iterdir())[:2]
    pictures = {}
    for name, path in (("one", first), ("two", second)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "x.bmp"), cv2.imread(str(path)))
    for name in ("one", "two", "one"):
        table, seen = tmp_path / "p.csv", tmp_path / "seen"
        assert run("recognize", tmp_path / name, "--out", table, "--annotate", seen).exit_code == 0
        picture = (seen / "x.bmp").read_bytes()
        assert pictures.setdefault(name, picture) == picture
    assert len(set(pictures.values())) == 2


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("denoise", "longer"),
        pytest.param("run", "other", marks=pytest.mark.long),
        pytest.param("recognize", "zeros", marks=pytest.mark.long),
        pytest.param("file://", "longer", marks=pytest.mark.long),
    ],
)
def test_an_output_that_was_changed_stays(
    kind: str, how: str, scans: Path, digits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments: dict[str, tuple[object, ...]] = {
        "denoise": ("denoise", scans, "--out", out),
        "run": ("run", "digits", digits, "--out", out),
        "recognize": ("recognize", digits, "--out", tmp_path / "p.csv", "--annotate", out),
        "file://": ("denoise", f"file://{scans}", "--out", f"file://{out}"),
    }
    command = arguments[kind]
    assert run(*command).exit_code == 0
    before = contents(out)
    name, *others = sorted(before)
    whole = before[name]
    mine = {"longer": whole + b"more", "other": b"my corrections", "zeros": bytes(len(whole))}[how]
    (out / name).write_bytes(mine)
    done = run(*command)
    assert done.exit_code == 1
    assert f"{len(others)} done before, 0 done, 1 failed" in said(done)
    assert f"{name} was changed since dlkit wrote it" in said(done)
    assert contents(out) == before | {name: mine}
    if how == "longer":
        assert run(*command, "--overwrite").exit_code == 0
    else:
        (out / name).unlink()
        assert f"{len(others)} done before, 1 done, 0 failed" in said(run(*command))
    assert contents(out) == before


def test_a_copied_folder_goes_on(digits: Path, tmp_path: Path) -> None:
    """Its files have other dates: their content tells that they are what dlkit wrote."""
    out, copy = tmp_path / "out", tmp_path / "copy"
    assert run("run", "digits", digits, "--out", out).exit_code == 0
    shutil.copytree(out, copy, copy_function=shutil.copyfile)
    assert "3 done before" in said(run("run", "digits", digits, "--out", copy))
    first, second, _ = sorted(digits.iterdir())
    shutil.copyfile(second, first)
    assert "2 done before, 1 done, 0 failed" in said(run("run", "digits", digits, "--out", copy))


def test_outputs_whose_lines_were_lost_by_a_power_cut(digits: Path, tmp_path: Path) -> None:
    """Of files that were written last the lines may be missing, and the content, or its end."""
    out = tmp_path / "out"
    command = ("run", "digits", digits, "--out", out)
    assert run(*command).exit_code == 0
    before, manifest = contents(out), out / "manifest.jsonl"
    whole = manifest.read_bytes()
    one, two, three = sorted(before)
    for lost in (len(whole), len(whole) // 2):
        manifest.write_bytes(whole[: len(whole) - lost])
        (out / one).write_bytes(b"")
        (out / two).write_bytes(before[two][:5])
        assert "0 failed" in said(run(*command)), lost
        assert contents(out) == before
    (out / one).write_bytes(before[one][:5])  # after the end of a run
    assert "2 done before, 1 done, 0 failed" in said(run(*command))
    manifest.write_bytes(b"")  # of a run that was cut: but this is nobody's output
    (out / three).write_bytes(b"mine")
    assert "2 done, 1 failed" in said(run(*command))
    assert (out / three).read_bytes() == b"mine"


def test_outputs_of_a_killed_run_that_another_one_replaces(digits: Path, tmp_path: Path) -> None:
    """Killed between an output and its line, with other answers than those that come now."""
    table, seen = tmp_path / "p.csv", tmp_path / "seen"
    command = ("recognize", digits, "--out", table, "--annotate", seen)
    assert run(*command).exit_code == 0
    before = contents(seen)
    forget(tmp_path / "p.csv.manifest.jsonl", "status", "end")
    assert "3 done, 0 failed" in said(run(*command, "--reject", "1"))
    assert contents(seen) != before


def test_what_a_line_says_of_its_output(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("run", "digits", digits, "--out", out).exit_code == 0
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    claims = {place: what for line in lines for place, *what in line.get("claim", ())}
    for line in lines:
        if "file" in line:
            path = out / f"{line['file']}.json"
            assert line["written"] == path.stat().st_size
            assert line["written_ns"] == path.stat().st_mtime_ns
            assert claims[path.name] == [line["written"], line["sum"]]
    assert list(lines[-1]) == ["check", "end"]
    fields = '"claim": [["a.json", 5]]'
    with (out / "manifest.jsonl").open("a") as file:
        file.write(checked(fields))  # its sum fits, and it is none
    assert "left out 1 lines of the manifest" in said(run("run", "digits", digits, "--out", out))
