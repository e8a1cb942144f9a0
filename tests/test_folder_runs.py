"""Second runs, faults in the middle, arrays, watching: what a folder run promises."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dlkit import images
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import InputError
from dlkit.export.api import export
from dlkit.idx import write_idx
from dlkit.runtime.folders import sources as folder
from dlkit.runtime.folders.array_files import open_array
from dlkit.runtime.folders.journal import Journal
from dlkit.runtime.folders.result import Result
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.engine.run import Run

from .conftest import untrained_run
from .long import long
from .test_mutants import peak


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dlkit", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background inherits an ignored SIGINT; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert len({row["file"] for row in found}) == len(found)
    return {row["file"]: row for row in found}


def lines(path: Path) -> list[dict[str, Any]]:
    """The manifest's lines of files."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in found if "file" in line]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """120 small scans, each of its own grey."""
    target = tmp_path / "scans"
    target.mkdir()
    random = np.random.default_rng(0)
    for index in range(120):
        scan = random.integers(0, 256, (128, 96), dtype=np.uint8)
        cv2.imwrite(str(target / f"{index}.png"), scan)
    return target


def test_kill_9_in_the_middle_and_run_again(scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("denoise", scans, "--out", out)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(out.glob("*.png"))) < 20:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    whole = {path.name: path.stat().st_mtime_ns for path in out.glob("*.png")}
    noted = {line["file"] for line in lines_that_are_whole(out / "manifest.jsonl")}
    assert 20 <= len(whole) < 120
    assert noted <= set(whole)
    done = dlkit("denoise", scans, "--out", out)
    assert done.exit_code == 0, done.output
    assert f"{len(noted)} done before, {120 - len(noted)} done, 0 failed" in done.output
    assert {path.name for path in out.glob("*.png")} == {path.name for path in scans.iterdir()}
    for path in out.glob("*.png"):
        assert images.read(path).shape == (128, 96)
        if path.name in noted:
            assert path.stat().st_mtime_ns == whole[path.name]


def lines_that_are_whole(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    found = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [line for line in found if "file" in line]


@pytest.mark.parametrize("task", ["recognize", long("denoise")])
def test_a_second_run_redoes_what_changed(
    task: str, digits_folder: Path, scans: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    shutil.copytree(digits_folder if task == "recognize" else scans, source)
    out = tmp_path / ("p.csv" if task == "recognize" else "out")
    count = len(list(source.iterdir()))
    assert dlkit(task, source, "--out", out).exit_code == 0
    before = rows(out) if task == "recognize" else {}
    again = dlkit(task, source, "--out", out)
    assert f"{count} done before, 0 done, 0 failed" in again.output
    if task == "recognize":
        assert rows(out) == before
    changed, *_, gone = sorted(source.iterdir())
    cv2.imwrite(str(changed), np.zeros((28, 28), np.uint8))
    gone.unlink()
    cv2.imwrite(str(source / "new.png"), np.zeros((28, 28), np.uint8))
    expected = f"{count - 2} done before, 2 done, 0 failed"
    dry = dlkit(task, source, "--out", out, "--dry-run")
    assert f"would do 2, done before {count - 2}; nothing was written" in dry.output
    assert expected in dlkit(task, source, "--out", out).output
    if task == "recognize":
        assert set(rows(out)) == {path.name for path in source.iterdir()}
        other = tmp_path / "other"
        shutil.copytree(Bundle.open("digits").path, other)
        (other / "model.onnx").write_bytes((other / "model.onnx").read_bytes() + b"\x08\x0a")
        meta = json.loads((other / "model.json").read_text())
        from dlkit.bundle import sha256

        meta["onnx"]["sha256"] = sha256(other / "model.onnx")
        (other / "model.json").write_text(json.dumps(meta))
        anew = dlkit(task, source, "--out", out, "--model", other)
        assert f"\n{count} done, 0 failed" in anew.output  # another model's answers do not count
    else:
        (out / "new.png").unlink()  # an output that was deleted is made again
        assert f"{count - 1} done before, 1 done" in dlkit(task, source, "--out", out).output
    anew = dlkit(task, source, "--out", out, "--overwrite")
    assert f"\n{count} done, 0 failed" in anew.output


def test_one_in_a_hundred_is_corrupt(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    digit = cv2.imencode(".png", load_labelled("mnist-mini").test_images[0])[1].tobytes()
    for index in range(1000):
        (source / f"{index}.png").write_bytes(digit[:60] if index % 100 == 7 else digit)
    out = tmp_path / "p.csv"
    done = dlkit("recognize", source, "--out", out)
    assert done.exit_code == 1
    assert "990 done, 10 failed" in done.output
    found = rows(out)
    bad = {name for name, row in found.items() if row["error"]}
    assert bad == {f"{index}.png" for index in range(7, 1000, 100)}
    assert len({row["digit"] for row in found.values()} - {""}) == 1
    noted = lines(tmp_path / "p.csv.manifest.jsonl")
    assert {line["file"] for line in noted if line["status"] == "failed"} == bad
    again = dlkit("recognize", source, "--out", out)
    assert "990 done before, 0 done, 10 failed" in again.output
    first = dlkit("recognize", source, "--out", out, "--overwrite", "--fail-fast", "--workers", 1)
    assert first.exit_code == 1
    assert int(first.output.rpartition(" done, ")[0].rpartition("\n")[2]) < 990


@pytest.mark.long
def test_full_disk(scans: Path, tmp_path: Path) -> None:
    """A tmpfs of 256 KiB where the system lets us mount one; else a limit on what is written."""
    out = tmp_path / "out"
    out.mkdir()
    command = f"{sys.executable} -m dlkit denoise '{scans}' --out '{out}' --workers 1"
    script = (
        f"mount -t tmpfs -o size=256k none '{out}' && {command}; code=$?; ls '{out}'; exit $code"
    )
    mounted = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        capture_output=True,
        text=True,
    )
    if "unshare:" in mounted.stderr or "mount:" in mounted.stderr:
        mounted = subprocess.run(
            ["sh", "-c", f"ulimit -f 20; trap '' XFSZ; {command}; code=$?; ls '{out}'; exit $code"],
            capture_output=True,
            text=True,
        )
    assert mounted.returncode == 1, mounted.stderr
    assert "Traceback" not in mounted.stderr
    assert "cannot be written" in mounted.stderr
    done, failed = _counts(mounted.stderr)
    assert done > 0
    assert failed > 0
    written = [name for name in mounted.stdout.split() if name.endswith(".png")]
    assert len(written) == done
    again = dlkit("denoise", scans, "--out", out)  # there is room now
    assert again.exit_code == 0, again.output
    assert len(list(out.glob("*.png"))) == 120


@pytest.mark.long
def test_no_room_for_the_manifest(digits_folder: Path, tmp_path: Path) -> None:
    """However much of it there is, no later run takes the table for somebody else's."""
    table, limits = tmp_path / "p.csv", resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (100, 2500, 3000, 3500, 4096, 9000):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
            cut = dlkit("recognize", digits_folder, "--out", table, "--overwrite")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert cut.exit_code == 1
        assert " done, " in cut.output  # the summary
        assert "cannot be written" in cut.output + str(cut.exception)
        again = dlkit("recognize", digits_folder, "--out", table)
        assert again.exit_code == 0, (again.output, again.exception)
        assert len(rows(table)) == 60


def _counts(text: str) -> tuple[int, int]:
    summary = next(line for line in text.splitlines() if " done, " in line and " failed, " in line)
    done, failed = summary.split(" done, ")
    return int(done.split()[-1]), int(failed.split()[0])


def test_files_that_vanish_while_it_runs(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    shutil.copytree(digits_folder, source)
    listed = folder.Inputs.__call__

    def vanishing(inputs: folder.Inputs, left_out: Any = None) -> Any:
        for index, one in enumerate(listed(inputs, left_out)):
            if index == 3 and left_out is not None:
                Path(one.path).unlink(missing_ok=True)
            yield one

    monkeypatch.setattr(folder.Inputs, "__call__", vanishing)
    done = dlkit("recognize", source, "--out", tmp_path / "p.csv")
    assert done.exit_code == 1
    assert "No such file" in done.output
    assert _counts(done.output)[1] >= 1
    assert sum(not row["error"] for row in rows(tmp_path / "p.csv").values()) >= 55


def test_a_subfolder_without_rights(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "in"
    shutil.copytree(digits_folder, source)
    closed = source / "closed"
    shutil.copytree(digits_folder, closed)
    scandir = os.scandir

    def refusing(path: str) -> Any:  # root may read anything, so the system's answer is made
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    done = dlkit("recognize", source, "--out", tmp_path / "p.csv")
    assert done.exit_code == 1
    assert "60 done, 1 failed" in done.output
    assert "closed/" in done.output
    done = dlkit("recognize", closed, "--out", tmp_path / "q.csv")
    assert done.exit_code
    assert "cannot be listed (Permission denied)" in str(done.exception)


@pytest.mark.long
def test_a_model_that_gives_nan(digits_folder: Path, tmp_path: Path) -> None:
    run = untrained_run(tmp_path, "mlp")
    state = Run(run).load_checkpoint()
    name = next(iter(state["network"]))
    state["network"][name] = torch.full_like(state["network"][name], float("inf"))
    state["network"][name][:, ::2] *= -1  # less infinite is no number
    Run(run).save_checkpoint(state)
    bundle = export(run)
    np.save(tmp_path / "array.npy", np.zeros((300, 28, 28), np.uint8))
    inputs = (digits_folder, tmp_path / "array.npy")
    done = dlkit("recognize", *inputs, "--model", bundle.path, "--out", tmp_path / "p.csv")
    assert done.exit_code == 1
    assert "0 done, 360 failed" in done.output
    assert all("NaN" in row["error"] for row in rows(tmp_path / "p.csv").values())


def test_arrays(digits_folder: Path, tmp_path: Path) -> None:
    data = load_labelled("mnist-mini")
    digits = data.test_images
    target = tmp_path / "arrays"
    target.mkdir()
    np.save(target / "a.npy", digits)
    np.savez(target / "b.npz", images=digits[:10], labels=data.test_labels[:10])
    write_idx(target / "c-idx3-ubyte", digits[:20])
    write_idx(target / "d-idx3-ubyte.gz", digits[:30])
    write_idx(target / "e-idx1-ubyte", data.test_labels.astype(np.uint8))  # labels
    np.save(target / "f.npy", digits[0].repeat(2, axis=0).repeat(2, axis=1))  # one, 56 x 56
    shutil.copy(next(digits_folder.iterdir()), target / "g.png")
    out = tmp_path / "p.csv"
    done = dlkit("recognize", target, "--out", out, "--batch", 64)
    assert done.exit_code == 0, done.output
    assert f"{len(digits) + 10 + 20 + 30 + 1 + 1} done, 0 failed" in done.output
    found = rows(out)
    answers = [found[f"a.npy[{index}]"]["digit"] for index in range(len(digits))]
    labels = data.test_labels
    assert (np.array(answers).astype(int) == labels).mean() > 0.98
    for index in range(10):
        for name in ("b.npz", "c-idx3-ubyte", "d-idx3-ubyte.gz"):
            assert found[f"{name}[{index}]"] == {
                **found[f"a.npy[{index}]"],
                "file": f"{name}[{index}]",
            }
    assert found["f.npy[0]"]["digit"] == answers[0]
    assert set(found["g.png"]) == set(found["f.npy[0]"])


def test_arrays_that_cannot_be(tmp_path: Path) -> None:
    digit = np.zeros((3, 28, 28), np.uint8)
    target = tmp_path / "arrays"
    target.mkdir()
    np.save(target / "good.npy", digit)
    np.save(target / "float.npy", digit.astype(np.float32))
    np.save(target / "flat.npy", digit[0, 0])
    np.save(target / "none.npy", digit[:0])
    np.savez(target / "two.npz", a=digit, b=digit)
    for number, shape in enumerate(("(-1, 28, 28)", "(-1, 784)", "(28, 28, -1)", "(2, -28, -28)")):
        head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        data = b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head.encode()
        (target / f"below{number}.npy").write_bytes(data)
    (target / "cut.npy").write_bytes((target / "good.npy").read_bytes()[:300])
    (target / "empty.npz").write_bytes(b"")
    (target / "text-idx3-ubyte").write_text("text")
    out = tmp_path / "p.csv"
    done = dlkit("recognize", target, "--out", out)
    assert done.exit_code == 1
    assert "3 done, 11 failed" in done.output
    float_error = rows(out)["float.npy"]["error"]
    assert "expected uint8 images (N, height, width). Save it as uint8, 0 black" in float_error
    assert "Save it as unsigned bytes" in rows(out)["text-idx3-ubyte"]["error"]
    assert sum(bool(row["error"]) for row in rows(out).values()) == 11


def test_large_images_of_arrays_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((40, 2000, 1500), np.uint8))
    with open_array(tmp_path / "a.npz") as array:
        sizes = [(len(part), part.nbytes) for part in array.parts(256)]
    assert sum(count for count, _ in sizes) == 40
    assert max(size for _, size in sizes) <= 1 << 25


@pytest.mark.long
def test_arrays_that_unpack_to_much_cost_no_memory(tmp_path: Path) -> None:
    """80 MB of them, of which a part is held at a time."""
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((100_000, 28, 28), np.uint8))
    np.save(tmp_path / "b.npy", np.zeros((300, 28, 28), np.uint8))
    assert dlkit("recognize", tmp_path / "b.npy", "--out", tmp_path / "b.csv").exit_code == 0
    begun = peak(afresh=True)
    done = dlkit("recognize", tmp_path / "a.npz", "--out", tmp_path / "a.csv")
    assert "100000 done, 0 failed" in done.output
    assert peak() - begun < 40_000_000


@pytest.mark.long
def test_watch_does_new_files_as_they_appear(digits_folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    process = start("denoise", source, "--out", out, "--watch")

    def wait_for(name: str) -> None:
        deadline = time.monotonic() + 60
        while not (out / name).exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)

    digit = next(digits_folder.iterdir())
    shutil.copy(digit, source / "one.png")
    (source / "bad.png").write_bytes(b"bad")
    wait_for("one.png")
    (source / "sub").mkdir()
    shutil.copy(digit, source / "sub" / "two.png")
    wait_for("sub/two.png")
    while "two.png" not in (out / "manifest.jsonl").read_text():
        time.sleep(0.05)
    time.sleep(0.2)  # noted, then counted; Ctrl-C may come while the pass is still under way
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1  # one failed, once
    assert "2 done, 1 failed" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp", ".jpg"])
def test_formats_come_back_as_they_came(suffix: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    scan = np.random.default_rng(0).integers(0, 256, (70, 90), dtype=np.uint8)
    cv2.imwrite(str(source / f"channels{suffix}"), np.dstack([scan] * 3))
    if suffix in (".png", ".tif"):
        cv2.imwrite(str(source / f"deep{suffix}"), scan.astype(np.uint16) * 257)
    assert dlkit("denoise", source, "--out", out).exit_code == 0
    for path in source.iterdir():
        before, after = images.read(path), images.read(out / path.name)
        assert after.shape == before.shape
        assert after.dtype == before.dtype


def known(path: Path, model: str, **options: bool) -> int:
    """How many files a manifest has as done."""
    with closing(Journal(path, model, **options)) as journal:
        return len(journal)


def status(size: int, modified: int, changed: int, inode: int) -> Any:
    return SimpleNamespace(st_size=size, st_mtime_ns=modified, st_ctime_ns=changed, st_ino=inode)


def test_journal_survives_torn_and_refuses_foreign_lines(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    source = folder.Source('/x/a"b.png', 'a"b ü\n.png')
    with closing(Journal(path, "m" * 64)) as journal:
        journal.add(
            [Result(source, size=3, modified=4, changed=5, inode=6)],
            [{"digit": "7", "probability": 0.5}],
        )
    path.write_bytes(path.read_bytes() + b'{"check": "01234567", "file": "torn')
    with closing(Journal(path, "m" * 64)) as journal:
        found = journal.answer(source.path, source.name, status(3, 4, 5, 6))
        assert found is not None
        line = journal.line(found[0])
        assert line == found[1]
        assert (line["file"], line["digit"], line["probability"]) == (source.name, "7", 0.5)
        for other in ((3, 5, 5, 6), (2, 4, 5, 6), (3, 4, 6, 6), (3, 4, 5, 7)):
            assert journal.answer(source.path, source.name, status(*other)) is None
        assert journal.answer("/elsewhere/x.png", source.name, status(3, 4, 5, 6)) is None
        journal.add([Result(source, size=9, modified=9)], [{}])
    assert len(lines(path)) == 2  # the torn line is gone
    assert known(path, "n" * 64) == 0
    path.write_text("this is no manifest\n")
    with pytest.raises(InputError, match="replace it with --overwrite"):
        Journal(path, "m" * 64)
    assert known(path, "m" * 64, forget=True) == 0
