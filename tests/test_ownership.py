"""Nothing of others is replaced or deleted, and no answer is given for another file."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import dlkit
from dlkit import images
from dlkit.__main__ import main
from dlkit.atomic import atomic_folder, atomic_path, clean_parts, heal
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import BundleError, UsageError
from dlkit.runtime.backends.openvino_bf16 import OpenVinoBf16Backend
from dlkit.runtime.folders.journal import Journal
from dlkit.runtime.folders.pace import Pace
from dlkit.tasks import Model
from dlkit.tasks.recognize import Recognizer

from .long import long


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answers(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["file"]: row["digit"] for row in csv.DictReader(file)}


def test_outputs_replace_nothing_of_others(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_text("mine")
    (out / "dlkit-probe").write_text("mine, too")
    done = run("denoise", scans, "--out", out)
    assert done.exit_code == 1
    assert "1 done, 1 failed" in done.output
    assert "does not say that dlkit wrote it" in done.output
    assert (out / "a.png").read_text() == "mine"
    again = run("denoise", scans, "--out", out)  # nor by the second run
    assert "1 done before, 0 done, 1 failed" in again.output
    assert (out / "a.png").read_text() == "mine"
    assert run("denoise", scans, "--out", out, "--overwrite").exit_code == 0
    assert images.read(out / "a.png").shape == (64, 48)
    assert (out / "dlkit-probe").read_text() == "mine, too"
    images.write(scans / "a.png", np.zeros((32, 32), np.uint8))  # its own it replaces by itself
    assert run("denoise", scans, "--out", out).exit_code == 0
    assert images.read(out / "a.png").shape == (32, 32)


def test_inputs_are_never_replaced(scans: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in scans.iterdir()}
    (scans / "sub").mkdir()
    shutil.copy(scans / "a.png", scans / "sub" / "a.png")
    link = tmp_path / "link"
    link.symlink_to(scans)
    through = tmp_path / "through"
    through.mkdir()
    (through / "a.png").symlink_to(scans / "a.png")
    for out in (scans, link, scans / "sub", through):
        for more in ([], ["--overwrite"]):
            done = run("denoise", scans / "a.png", "--out", out, *more)
            if out == scans / "sub" and more:
                continue  # that one is no input
            assert done.exit_code, (out, done.output)
    hard = tmp_path / "hard"  # a second name of the same file, which no real path tells
    hard.mkdir()
    os.link(scans / "a.png", hard / "a.png")
    os.link(scans / "b.png", hard / "c.png")
    shutil.copy(scans / "a.png", scans / "c.png")
    for more in ([], ["--overwrite"]):
        done = run(
            "denoise", scans / "a.png", scans / "b.png", scans / "c.png", "--out", hard, *more
        )
        assert "1 done, 2 failed" in done.output or "1 done before, 0 done, 2 failed" in done.output
    (scans / "c.png").unlink()
    os.link(scans / "a.png", tmp_path / "t.csv")
    for more in ([], ["--overwrite"]):
        done = run("recognize", scans / "a.png", "--out", tmp_path / "t.csv", *more)
        assert "is an input" in str(done.exception)
    table = scans / "a.png"
    assert "is an input" in str(run("recognize", table, "--out", table).exception)
    assert "is an input" in str(run("recognize", table, "--out", table, "--overwrite").exception)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux mounts a folder twice so")
def test_inputs_are_never_replaced_through_a_mount(scans: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in scans.iterdir()}
    (tmp_path / "out").mkdir()
    mounted = 'mount --bind "$1" "$2" && exec "$3" -m dlkit denoise "$1" --out "$2" --overwrite'
    inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    done = subprocess.run(
        [*inside, mounted, "sh", scans, tmp_path / "out", sys.executable],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "is where the inputs are" in done.stderr
    assert {path: path.read_bytes() for path in scans.iterdir()} == before


def test_tables_replace_nothing_of_others(scans: Path, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("mine")
    assert "no dlkit wrote it" in str(run("recognize", scans, "--out", table).exception)
    assert table.read_text() == "mine"
    real = tmp_path / "real.csv"
    link = tmp_path / "link.csv"
    link.symlink_to(real)
    assert run("recognize", scans, "--out", link).exit_code == 0
    assert link.is_symlink()
    assert len(answers(real)) == 2
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    for place in (pipe, Path("/dev/null")):
        assert "pipe or a device" in str(run("recognize", scans, "--out", place).exception)
    assert pipe.is_fifo()


def test_a_second_run_answers_for_no_other_file(digits_folder: Path, tmp_path: Path) -> None:
    """Equal names, sizes and dates: as archives with fixed dates unpack."""
    batches = [tmp_path / "one", tmp_path / "two"]
    files = sorted(digits_folder.iterdir())[:10]
    for batch, order in zip(batches, (files, files[::-1]), strict=True):
        batch.mkdir()
        for number, path in enumerate(order):
            target = batch / f"{number}.pgm"
            cv2.imwrite(str(target), images.read(path))
            os.utime(target, (1_700_000_000, 1_700_000_000))
    out = tmp_path / "p.csv"
    for batch, order in zip(batches, (files, files[::-1]), strict=True):
        assert run("recognize", batch, "--out", out).exit_code == 0
        expected = {f"{number}.pgm": path.name[0] for number, path in enumerate(order)}
        assert answers(out) == expected
    first = batches[0]
    shutil.rmtree(first)
    shutil.copytree(batches[1], first)  # the same folder, other files: names, sizes, dates as were
    run("recognize", first, "--out", out)
    assert answers(out) == expected
    again = run("recognize", first, "--out", out)
    assert "10 done before" in again.output


def test_outputs_that_shrank_are_done_again(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("denoise", scans, "--out", out)
    (out / "a.png").write_bytes(b"")
    again = run("denoise", scans, "--out", out)
    assert "1 done before, 1 done" in again.output
    assert images.read(out / "a.png").shape == (64, 48)


def test_answers_of_another_backend_do_not_count(scans: Path, tmp_path: Path) -> None:
    for backend in ("onnxruntime", "openvino"):
        done = run("denoise", scans, "--out", tmp_path / "out", "--backend", backend)
        assert "2 done, 0 failed" in done.output


@pytest.mark.long
def test_answers_in_another_arithmetic_do_not_count(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one library; a processor without bfloat16 may compute in float32 what it is asked for."""
    monkeypatch.setattr(OpenVinoBf16Backend, "unavailable", lambda *_: None)
    for backend in ("openvino", "openvino_bf16"):
        done = run("denoise", scans, "--out", tmp_path / "out", "--backend", backend)
        assert "2 done, 0 failed" in done.output
        again = run("denoise", scans, "--out", tmp_path / "out", "--backend", backend)
        assert "2 done before" in again.output


def test_answers_of_another_range_do_not_count(scans: Path, tmp_path: Path) -> None:
    with dlkit.load("mmwave", backend="onnxruntime") as model:
        for wanted in (None, (0, 255)):
            model.range = wanted
            done = model.run_folder(scans, tmp_path / "out")
            assert (done.done, done.skipped) == (2, 0)
            assert model.run_folder(scans, tmp_path / "out").skipped == 2
        model.range = (0, 300)
        with pytest.raises(dlkit.InputError, match="does not hold a range of 0:300"):
            model.denoise([np.zeros((64, 48), np.uint8)])
        with pytest.raises(UsageError, match="expected all, first"):
            images.decode_frames(b"x", "a", frames="last")


def test_two_runs_do_not_write_into_one_place(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("denoise", scans, "--out", out)
    journal = Journal(out / "manifest.jsonl", "m" * 64)
    try:
        done = run("denoise", scans, "--out", out)
        assert isinstance(done.exception, UsageError)
        assert "another run is writing into" in str(done.exception)
    finally:
        journal.close()
    assert "2 done before" in run("denoise", scans, "--out", out).output


def test_what_killed_runs_left_is_removed(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("denoise", scans, "--out", out)
    (out / "sub").mkdir()
    left = [out / ".dlkit-0123456789abcdef.part", out / "sub" / ".dlkit-0123456789abcdef.part"]
    kept = [out / ".other.part", out / ".dlkit-notes"]
    for path in (*left, *kept):
        path.write_text("x")
    run("denoise", scans, "--out", out)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept)


def test_annotated_pictures_never_share_a_name(digits_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("x.pgm", "x.pgm.png", "x.pgm.png.png", "x.png"):
        cv2.imwrite(str(source / name), images.read(next(digits_folder.iterdir())))
    seen = tmp_path / "seen"
    run("recognize", source, "--out", tmp_path / "p.csv", "--annotate", seen)
    assert len(list(seen.iterdir())) == 4


def test_long_and_strange_names(digits_folder: Path, tmp_path: Path) -> None:
    digit = sorted(digits_folder.iterdir())[0]
    source = tmp_path / "in"
    source.mkdir()
    names = [b"n" * 251 + b".png", b"caf\xe9.png", b"a\x1b[31m[bold]\n.png", b"=1+1.png"]
    for name in names:
        shutil.copy(digit, os.fsencode(source) + b"/" + name)
    out = tmp_path / "out"
    assert run("denoise", source, "--out", out).exit_code == 0
    assert {os.fsencode(path.name) for path in out.glob("*.png")} == set(names)
    table = tmp_path / "p.csv"
    for _ in range(2):
        done = run("recognize", source, "--out", table)
        assert done.exit_code == 0, done.output
        assert "\x1b[31m" not in done.output
    found = {os.fsencode(name) for name in answers(table)}
    assert found == {*names[:3], b"'=1+1.png"}  # no spreadsheet takes it for a formula
    for command in ("recognize", "detect"):
        run(command, source, "--out", tmp_path / f"{command}.jsonl")
        lines = (tmp_path / f"{command}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert {os.fsencode(row["file"]) for row in rows} == set(names)


def test_no_cell_is_a_formula(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor labels, nor errors, which begin with a file's name; numbers stay numbers."""
    source = tmp_path / "in"
    source.mkdir()
    for path in sorted(digits_folder.iterdir())[:30]:
        shutil.copy(path, source)
    (source / "=1+1.png").touch()
    monkeypatch.chdir(source)  # errors begin with the path as it was given
    names = sorted(path.name for path in source.iterdir())
    digits = Bundle.open("digits")
    labels = ("-1", "+1.5", "=1+1", "@SUM(A1)", "-x", "+y", "6", "7", "8", "9")
    spec = replace(digits.spec, labels=labels, pages=False)
    named = Bundle.create(tmp_path / "named", digits.onnx.read_bytes(), spec, {})
    table = tmp_path / "p.csv"
    run("recognize", *names, "--out", table, "--model", named.path, "--mode", "single")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    (failed,) = [row for row in rows if row["error"]]
    assert failed["error"].startswith("'=1+1.png: is empty")
    found = {row["digit"] for row in rows if not row["error"]}
    assert found <= {"-1", "+1.5", "'=1+1", "'@SUM(A1)", "'-x", "'+y", *labels[6:]}
    assert found & {"'=1+1", "'@SUM(A1)", "'-x", "'+y"}
    lines = tmp_path / "p.jsonl"
    run("recognize", *names, "--out", lines, "--model", named.path, "--mode", "single")
    texts = lines.read_text().splitlines()
    assert {json.loads(line).get("digit") for line in texts} <= {None, *labels}


@pytest.mark.long
def test_pipes_and_deep_folders_do_not_end_a_run(digits_folder: Path, tmp_path: Path) -> None:
    digit = sorted(digits_folder.iterdir())[0]
    source = tmp_path / "in"
    source.mkdir()
    shutil.copy(digit, source / "a.png")
    os.mkfifo(source / "pipe.png")
    (source / "self.png").symlink_to(source / "self.png")
    handle = os.open(source, os.O_RDONLY)
    for _ in range(1500):  # deeper than Python's calls may be
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    try:
        done = run("recognize", source, "--out", tmp_path / "p.csv")
    finally:
        subprocess.run(["rm", "-rf", str(source)], check=True)
    assert done.exit_code == 1
    assert "is no file, but a folder, a pipe or a device" in done.output
    assert "1 done, 2 failed" in done.output  # the pipe, the link to itself


@pytest.mark.long
@pytest.mark.parametrize(
    "where", ["1>/dev/full", "2>/dev/full", ">&-", "2>&-", ">&- 2>&- <&-", "| true"]
)
def test_terminals_that_do_not_listen(where: str, digits_folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    command = f"{sys.executable} -m dlkit recognize '{digits_folder}' --out '{table}' {where}"
    pipe = "; exit ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", command + pipe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(answers(table)) == 60


def test_a_thread_that_cannot_start(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with dlkit.load("digits", backend="onnxruntime") as model:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert model.run_folder(digits_folder, tmp_path / "out").done == 60


def test_a_backend_that_does_not_import_is_passed_over(digits_folder: Path, tmp_path: Path) -> None:
    code = """
import sys
sys.modules["openvino"] = None
import dlkit
model = dlkit.load("mmwave")
print(model.opened.session.backend)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "onnxruntime"


def test_chunks_are_short_in_time() -> None:
    """A run that is killed every second gets forward all the same."""
    slow, quick = Pace(256), Pace(256)
    for _ in range(10):
        slow.took(slow.size, 0.05 * slow.size)
        quick.took(quick.size, 1e-5 * quick.size)
    assert 0.05 * slow.size <= 0.5
    assert quick.size == 256


def test_ctrl_c_after_several_models_kills_nothing() -> None:
    """OpenVINO's Core takes a thread's signal stack: two of them, and the next signal is fatal."""
    code = """
import gc, os, signal, threading
import numpy as np, dlkit
seen = []
signal.signal(signal.SIGINT, lambda *_: seen.append(1))
def use():
    with dlkit.load("digits", backend="openvino") as model:
        model.recognize([np.zeros((28, 28), np.uint8)])
first, second = dlkit.load("digits", "openvino"), dlkit.load("digits", "openvino")
del first
gc.collect()
thread = threading.Thread(target=use)
thread.start()
thread.join()
del second
gc.collect()
for _ in range(20):
    os.kill(os.getpid(), signal.SIGINT)
print(len(seen) > 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr


def test_bundles_keep_what_is_not_theirs(tmp_path: Path) -> None:
    digits = Bundle.open("digits")
    bundle = digits.copy(tmp_path / "b")
    (bundle.path / "notes.txt").write_text("mine")
    before = (bundle.path / "model.json").stat().st_mtime_ns
    time.sleep(0.01)
    same = Bundle.create(bundle.path, digits.onnx.read_bytes(), digits.spec, {"other": "origin"})
    assert same.certificate == digits.certificate
    assert (bundle.path / "model.json").stat().st_mtime_ns == before
    mmwave = Bundle.open("mmwave")
    other = Bundle.create(bundle.path, mmwave.onnx.read_bytes(), mmwave.spec, {})
    assert other.spec == mmwave.spec
    assert (bundle.path / "notes.txt").read_text() == "mine"
    (bundle.path / "notes").mkdir()
    (bundle.path / "notes" / "more.txt").write_text("mine, too")
    before = (bundle.path / "model.json").read_bytes()
    for source in ("mmwave", "digits", "digits"):
        done = run("export", source, "--out", bundle.path)
        assert done.exit_code == 0, done.output
        assert (bundle.path / "notes.txt").read_text() == "mine"
        assert (bundle.path / "notes" / "more.txt").read_text() == "mine, too"
    assert (bundle.path / "model.json").read_bytes() != before
    assert Bundle.open(bundle.path).spec == digits.spec
    for name in ("../out", "/tmp/out", "a/b", "..", ""):
        spec = digits.spec.__class__(**{**vars(digits.spec), "name": name})
        with pytest.raises(BundleError, match="without slashes"):
            Bundle.create(tmp_path / "x", b"", spec, {})


def test_what_is_declared_done_is_on_the_disk(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table, a bundle, a checkpoint: the file first, then its name, which is its folder's."""
    synced: list[tuple[int, int]] = []
    fsync = os.fsync

    def noting(file: int) -> None:
        status = os.fstat(file)
        synced.append((status.st_dev, status.st_ino))
        fsync(file)

    def known(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_dev, status.st_ino

    monkeypatch.setattr(os, "fsync", noting)
    assert run("recognize", digits_folder, "--out", tmp_path / "p.csv").exit_code == 0
    assert synced.index(known(tmp_path / "p.csv")) < synced.index(known(tmp_path))
    assert len(synced) < 6  # once a run, not once a file
    synced.clear()
    bundle = tmp_path / "to" / "b"
    assert run("export", "digits", "--out", bundle).exit_code == 0
    for path in (bundle / "model.onnx", bundle / "model.json"):
        folders = [
            at for at, one in enumerate(synced) if one in map(known, (bundle, bundle.parent))
        ]
        assert synced.index(known(path)) < folders[-1]


def test_a_killed_swap_is_healed(tmp_path: Path) -> None:
    bundle = Bundle.open("digits").copy(tmp_path / "b")

    class Killed(BaseException):
        """As kill -9, between the two renames."""

    def killing(self: Path, target: Path) -> Path:
        self.replace(target)
        raise Killed

    def swap() -> None:
        with atomic_folder(bundle.path) as folder:
            (folder / "model.onnx").write_bytes(b"new")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dlkit.atomic.heal", lambda target: None)
        patch.setattr(Path, "rename", killing)
        with pytest.raises(Killed):
            swap()
    assert not bundle.path.exists()
    assert Bundle.open(tmp_path / "b").sha256 == bundle.sha256
    heal(bundle.path)  # nothing more to do


def test_parts_have_names_of_their_own(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_path(target) as one, atomic_path(target) as other:
        assert one != other
        one.write_text("1")
        other.write_text("2")
    assert target.read_text() == "1"
    clean_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    code = """
import os
os.getpid = lambda: 1  # as in each of two containers
from pathlib import Path
from dlkit.atomic import atomic_path
with atomic_path(Path("a.txt"), many=True) as part:
    print(part)
    part.touch()
"""
    command = [sys.executable, "-c", code]
    names = [subprocess.check_output(command, cwd=tmp_path, text=True) for _ in range(2)]
    assert names[0] != names[1]


BRIEF = ("--seconds", "0.01", "--rounds", "1", "--batches", "1", "--backend", "onnxruntime")
WRITERS = [
    ("card", "digits", "--out"),
    long(("bench", "digits", *BRIEF, "--json")),
    long(("bench", "digits", *BRIEF, "--html")),
    ("simulate", "crops", "--count", "6", "--workers", "1", "--out"),
    ("generate", "digit_maker", "--count", "1", "--out"),
]


@pytest.mark.parametrize("command", WRITERS, ids=lambda command: " ".join(command[:2]))
def test_a_file_is_replaced_only_when_that_is_said(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "mine.npz"
    file.write_text("mine")
    done = run(*command, file)
    assert isinstance(done.exception, UsageError)
    assert done.exception.what == f"{command[-1]} {file} is there already"
    assert file.read_text() == "mine"
    (tmp_path / "link.npz").symlink_to(tmp_path / "nowhere")
    assert isinstance(run(*command, tmp_path / "link.npz").exception, UsageError)
    assert run(*command, file, "--overwrite").exit_code == 0
    assert file.read_bytes() != b"mine"


def test_a_report_goes_into_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("mine")
    done = run("evaluate", "digits", "--out", tmp_path)
    assert isinstance(done.exception, UsageError)
    assert (tmp_path / "report.json").read_text() == "mine"


def test_names_that_are_too_long(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("y" * 255, "y" * 300, "ü" * 121):
        refused = run("detect", scans, "--out", tmp_path / name).exception
        assert isinstance(refused, UsageError)
        assert "Choose a name of at most 240 bytes" in str(refused)
    assert run("detect", scans, "--out", tmp_path / f"{'y' * 236}.csv").exit_code == 0
    missing = run("detect", scans / ("y" * 300), "--out", tmp_path / "p.csv").exception
    assert "there is no" in str(missing)
    monkeypatch.setattr("sys.argv", ["dlkit", "inspect", "y" * 300])
    with pytest.raises(SystemExit):
        main()
    assert "cannot be written or read: File name too long" in capsys.readouterr().err


def test_files_of_kinds_that_are_not_read_are_counted(scans: Path, tmp_path: Path) -> None:
    """What an owner would miss, and not what nobody takes for an image."""
    (scans / "more").mkdir()
    names = ("z.zip", "a.7z", "g.png.gz", "p.tar.zst", "t.TGA", "f.fits", "v.mp4", "x.png ",
             "x.png~", "s.psd", "i.ico", "x.npy")  # fmt: skip
    for name in (*names, "notes.txt", "a.png.json", "labels.csv", "~"):
        (scans / "more" / name).write_bytes(b"x")
    done = run("detect", scans, "--out", tmp_path / "p.csv")
    assert done.exit_code == 0
    assert f"left out {len(names)} files of kinds that are not read" in done.output
    assert f"2 done, 0 failed, {len(names)} left out" in done.output.replace("\n", " ")


def test_a_task_says_what_its_outputs_are_called() -> None:
    """No default: a task's JSON would go into ``scan.png``, in silence."""

    class Silent(Recognizer):
        output_name = Model.output_name  # as where none is written

    with pytest.raises(TypeError, match="output_name"):
        Silent(Bundle.open("digits"), None)  # type: ignore[abstract, arg-type]
