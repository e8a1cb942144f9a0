"""Every command that writes: what is no place for it is refused in one line, and stays as it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dlkit.cli import app
from dlkit.errors import DlkitError

from .long import long

BRIEF = ("--seconds", "0.01", "--rounds", "1", "--batches", "1", "--backend", "onnxruntime")
SCANS, OTHER = "SCANS", "OTHER"  # a folder of scans, a place where something may go
WRITERS: list[Sequence[str]] = [
    ("denoise", SCANS, "--out"),
    ("denoise", SCANS, "--out", OTHER, "--objects"),
    ("run", "digits", SCANS, "--out"),
    ("detect", SCANS, "--out"),
    ("detect", SCANS, "--out", OTHER, "--annotate"),
    ("recognize", SCANS, "--out"),
    ("recognize", SCANS, "--out", OTHER, "--annotate"),
    ("train", "lenet", "--set", "epochs=1", "--set", "width=0.1", "--out"),
    ("export", "digits", "--out"),
    ("export", "digits", "--out", OTHER, "--triton"),
    ("card", "digits", "--out"),
    ("bench", "digits", *BRIEF, "--json"),
    ("bench", "digits", *BRIEF, "--html"),
    ("simulate", "scans", "--count", "1", "--workers", "1"),
    ("simulate", "fit", SCANS, "--out"),
    ("simulate", "pages", "--count", "1", "--out"),
    ("simulate", "crops", "--count", "6", "--workers", "1", "--out"),
    ("generate", "digit_maker", "--count", "1", "--out"),
    ("evaluate", "digits", "--out"),
    ("pack", SCANS),
]
ANEW = {"denoise", "run", "detect", "recognize", "card", "bench", "generate", "evaluate", "pack"}


@pytest.mark.parametrize(
    "command",
    [long(one) if one[1] == SCANS and one[0] != "denoise" else one for one in WRITERS],
    ids=" ".join,
)
def test_pipes_devices_and_files_in_the_way(
    command: Sequence[str], scans: Path, tmp_path: Path
) -> None:
    pipe, file, link = tmp_path / "pipe", tmp_path / "file", tmp_path / "link"
    os.mkfifo(pipe)
    file.write_text("mine")
    link.symlink_to(pipe)
    before = os.lstat("/dev/null")
    known = {SCANS: str(scans), OTHER: str(tmp_path / "other")}
    words = [known.get(word, word) for word in command]
    for place in (pipe, link, Path("/dev/null"), pipe / "below", file / "below", file):
        for more in ([], ["--overwrite"]):
            if more and (command[0] not in ANEW or place == file):
                continue
            done = CliRunner().invoke(app, [*words, str(place), *more])
            assert isinstance(done.exception, DlkitError), (place, done.output, done.exception)
            assert "\n" not in str(done.exception)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert file.read_text() == "mine"
    now = os.lstat("/dev/null")
    assert (now.st_ino, now.st_rdev) == (before.st_ino, before.st_rdev)
