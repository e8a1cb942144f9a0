"""Folders, bad input, bundles and backends, through the command line and the Python door."""

from __future__ import annotations

import csv
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from dlkit.bench import calls
from dlkit.bundle import Bundle, Measured, shipped
from dlkit.cli import app
from dlkit.errors import BackendError, BundleError, InputError, UsageError
from dlkit.runtime.backends import _openvino_core
from dlkit.runtime.backends.onnxruntime import OnnxRuntimeSession
from dlkit.runtime.folders.pipeline import Runner
from dlkit.runtime.model import Opened
from dlkit.runtime.session import BACKENDS, open_session, runnable
from dlkit.tasks import TASKS, Feeds, Session
from dlkit.tasks.denoise import strips
from dlkit.tasks.recognize import Prediction, Recognizer


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line as a user has it."""
    return subprocess.run(
        [sys.executable, "-m", "dlkit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_recognize_folder(digits_folder: Path, tmp_path: Path) -> None:
    done = run("recognize", digits_folder, "--out", tmp_path / "p.csv", "--batch", 7)
    assert done.returncode == 0, done.stderr
    found = rows(tmp_path / "p.csv")
    names = [row["file"] for row in found]
    assert sorted(names) == sorted(path.name for path in digits_folder.iterdir())
    assert sum(row["file"][0] == row["digit"] for row in found) >= 58
    done = run("recognize", digits_folder, "--out", tmp_path / "p.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["digit"] for line in lines] == [row["digit"] for row in found]
    assert all(0 < line["probability"] <= 1 for line in lines)


def test_denoise_folder_mirrors_names_sizes_and_channels(
    scans_folder: Path, tmp_path: Path
) -> None:
    done = run("denoise", scans_folder, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for name in ("one.png", "a b/zwei-ü.png"):
        before = images.read(scans_folder / name)
        after = images.read(tmp_path / "out" / name)
        assert after.shape == before.shape
        assert (after != before).any()
    assert not list((tmp_path / "out").rglob(".*"))


def test_denoise_cleans_held_out_scans() -> None:
    from dlkit.mmwave import simulate
    from dlkit.tasks.denoise.score import psnr

    scans = [simulate(2_000_000_000 + seed, (339, 192)) for seed in range(4)]
    cleaned = dlkit.load("mmwave").denoise([scan.noisy for scan in scans])
    for scan, image in zip(scans, cleaned, strict=True):
        assert psnr(scan.clean, image) > psnr(scan.clean, scan.noisy) + 6


def test_bad_files_cost_only_themselves(digits_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed ü"
    folder.mkdir()
    good = sorted(digits_folder.iterdir())[0]
    data = good.read_bytes()
    (folder / "good.png").write_bytes(data)
    (folder / "truncated.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is no image")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "folder.png").mkdir()
    cv2.imwrite(str(folder / "one-pixel.png"), np.zeros((1, 1), np.uint8))
    cv2.imwrite(str(folder / "sixteen.png"), images.read(good).astype(np.uint16) * 257)
    cv2.imwrite(
        str(folder / "rgba.png"),
        np.dstack([images.read(good)] * 3 + [np.full((28, 28), 255, np.uint8)]),
    )
    cv2.imwrite(str(folder / "wide.png"), np.zeros((20, 10_000), np.uint8))
    for command, out in (("recognize", "p.csv"), ("denoise", "out")):
        done = run(command, folder, "--out", tmp_path / out)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "5 done, 3 failed" in done.stderr
        assert done.stderr.count("failed: ") == 3
    table = {row["file"]: row for row in rows(tmp_path / "p.csv")}
    assert table["truncated.png"]["error"]
    assert table["sixteen.png"]["digit"] == table["rgba.png"]["digit"] == good.name[0]
    written = {path.name for path in (tmp_path / "out").iterdir()} - {"manifest.jsonl"}
    assert written == {"good.png", "one-pixel.png", "sixteen.png", "rgba.png", "wide.png"}
    assert images.read(tmp_path / "out" / "wide.png").shape == (20, 10_000)
    assert images.read(tmp_path / "out" / "sixteen.png").dtype == np.uint16


@pytest.mark.parametrize("command", ["denoise", "recognize"])
def test_wrong_use_is_one_line_and_exit_code_2(
    command: str,
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    other = {"denoise": "digits", "recognize": "mmwave"}[command]
    (tmp_path / "nothing").mkdir()
    (tmp_path / "blocked").write_text("a file where a folder should be")
    for arguments, message in (
        ([tmp_path / "missing"], "there is no"),
        ([tmp_path / "nothing"], "nothing to do"),
        ([digits_folder, "--model", other], f"not to {command}"),
        ([digits_folder, "--model", tmp_path / "no"], "there is no bundle"),
        ([digits_folder, "--backend", "onnxruntim"], "Did you mean onnxruntime"),
        ([digits_folder, "--device", "tpu"], "unknown device"),
        ([digits_folder, "--out", tmp_path / "blocked" / "x" / "y"], "cannot be written"),
        ([digits_folder, digits_folder], "two inputs"),
    ):
        monkeypatch.setattr(sys, "argv", ["dlkit", command, *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 2, arguments
        assert message in capsys.readouterr().err


def test_denoise_never_overwrites_its_input(scans_folder: Path) -> None:
    done = run("denoise", scans_folder, "--out", scans_folder)
    assert done.returncode == 2
    assert "overwritten" in done.stderr


def test_named_device_never_falls_back() -> None:
    bundle = Bundle.open("digits")
    with pytest.raises(BackendError, match=r"onnxruntime on cuda: .*(driver|CUDA|GPU)"):
        open_session(bundle, "onnxruntime", "cuda")


@pytest.mark.no_gpu
def test_onnxruntime_that_falls_back_in_silence_is_refused(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The real ONNX Runtime, asked for CUDA where it cannot have it."""
    message = r"asked onnxruntime for CUDAExecutionProvider, got CPUExecutionProvider.*CUDA 1\d"
    with pytest.raises(BackendError, match=message):
        OnnxRuntimeSession(Bundle.open("digits"), "cuda", 1, 1)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", shipped())
def test_every_backend_gives_the_same(name: str) -> None:
    bundle = Bundle.open(name)
    (batch,) = calls.feeds(bundle.spec, 3, (64, 64)).values()
    expected = open_session(bundle, "onnxruntime", "cpu").session(batch).astype(float)
    for backend, device in runnable(bundle):
        got = open_session(bundle, backend, device).session(batch)
        tolerances = TASKS.load(bundle.spec.task).tolerances
        tolerance = tolerances[BACKENDS.load(backend).arithmetic or bundle.spec.precision]
        assert np.abs(got - expected).max() <= max(1, tolerance.largest), backend
        assert np.abs(got - expected).mean() <= tolerance.mean, backend


def test_bfloat16_is_taken_where_the_processor_has_it_and_the_certificate_says_it_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open("mmwave").copy(tmp_path / "copy")
    certificate = bundle.certificate
    assert certificate is not None
    measured = tuple(row for row in certificate.measured if row.backend == "openvino")
    bf16 = replace(measured[0], backend="openvino_bf16", precision="bf16")

    def certified(*rows: Measured) -> Bundle:
        return bundle.with_certificate(replace(certificate, measured=rows))

    def chosen(row: Measured) -> str:
        return open_session(certified(*measured, row), device="cpu").session.backend

    types = ["FP32", "BF16"]

    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            return types

        def __getattr__(self, name: str) -> object:
            return getattr(_openvino_core.core(), name)

    monkeypatch.setattr("dlkit.runtime.backends.openvino_bf16.core", Core)
    assert chosen(bf16) == "openvino_bf16"
    assert chosen(replace(bf16, within=False)) == "onnxruntime"
    assert chosen(measured[0]) == "onnxruntime"
    assert "does not cover openvino_bf16" in str(
        certified(*measured).uncertified(bundle.sha256, "openvino_bf16")
    )
    types.remove("BF16")
    opened = open_session(certified(*measured, bf16), device="cpu")
    assert opened.session.backend == "onnxruntime"
    assert "no bfloat16" in opened.passed_over["openvino_bf16 on cpu"]
    with pytest.raises(BackendError, match="no bfloat16"):
        open_session(bundle, "openvino_bf16", "cpu")


@pytest.mark.long
def test_shapes_that_repeat_change_nothing() -> None:
    """OpenVINO compiles a model for a shape that comes often; answers and threads are as before."""
    bundle = Bundle.open("mmwave")
    random = np.random.default_rng(0)
    scans = [random.integers(0, 256, (1, 64, 16 * (4 + i % 7)), np.uint8) for i in range(70)]
    reference = open_session(bundle, "onnxruntime", "cpu").session
    expected = [reference(scan) for scan in scans]
    session = open_session(bundle, "openvino", "cpu", callers=3).session
    with ThreadPoolExecutor(3) as pool:
        for got, wanted in zip(pool.map(session, scans), expected, strict=True):
            assert np.abs(got.astype(int) - wanted).max() <= 1


@pytest.mark.long
def test_auto_takes_what_was_measured_fastest(bundle_of: Callable[[str, str], Bundle]) -> None:
    for precision, expected in (("fp32", "onnxruntime"), ("int8", "openvino")):
        bundle = bundle_of("lenet", precision)
        assert open_session(bundle, device="cpu").session.backend == expected


def test_shipped_bundles_are_small_and_verified() -> None:
    tasks = map(TASKS.load, TASKS.names())
    assert {task.default_bundle for task in tasks if task.default_bundle} <= set(shipped())
    for name in shipped():
        bundle = Bundle.open(name)
        assert bundle.onnx.stat().st_size < 4e6
        assert bundle.uncertified(bundle.sha256) is None
        with pytest.raises(BundleError, match="read-only"):
            bundle.with_certificate(None)


def test_damaged_bundles_are_refused(tmp_path: Path) -> None:
    source = Bundle.open("digits")
    bundle = Bundle.create(tmp_path / "b", source.onnx.read_bytes(), source.spec, {})
    data = bytearray(bundle.onnx.read_bytes())
    data[1000] ^= 1
    bundle.onnx.write_bytes(data)
    with pytest.raises(BundleError, match="damaged or was changed"):
        Bundle.open(tmp_path / "b")
    bundle.onnx.unlink()
    with pytest.raises(BundleError, match=r"no model\.onnx"):
        Bundle.open(tmp_path / "b")
    (tmp_path / "b" / "model.json").write_text("{")
    with pytest.raises(BundleError, match="damaged"):
        Bundle.open(tmp_path / "b")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="is no bundle"):
        Bundle.create(tmp_path / "mine", b"", source.spec, {})


def test_answers_do_not_depend_on_company() -> None:
    model = dlkit.load("mmwave")
    random = np.random.default_rng(0)
    scans = [
        random.integers(0, 256, shape, dtype=np.uint8) for shape in ((70, 50), (64, 64), (70, 50))
    ]
    together = model.denoise(scans, batch=3)
    for scan, image in zip(scans, together, strict=True):
        alone = model.denoise([scan])[0]
        assert image.shape == scan.shape
        assert np.abs(alone.astype(int) - image.astype(int)).max() <= 1
    with pytest.raises(InputError, match="float32 values from 0 to 255"):
        model.denoise([scans[0].astype(np.float32)])
    with pytest.raises(InputError, match="uint8 or uint16"):
        model.denoise([scans[0].astype(np.int32)])
    with pytest.raises(UsageError, match="batch is 0"):
        model.denoise(scans, batch=0)


class Fails(Session):
    """A session that refuses some batches."""

    backend, device, sha256 = "fake", "cpu", ""

    def __init__(self, session: Session, refuses: Callable[[np.ndarray], bool]) -> None:  # type: ignore[type-arg]
        self.session, self.refuses, self.sizes = session, refuses, list[int]()

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        return self.session.run(feeds)

    def __call__(self, batch: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        if self.refuses(batch):
            raise RuntimeError("no memory")
        self.sizes.append(len(batch))
        return self.session(batch)


def test_a_bad_image_costs_only_itself() -> None:
    model = dlkit.load("digits")
    bad = np.full((28, 28), 255, np.uint8)
    fails = Fails(model.opened.session, lambda batch: bool((batch == 255).all(axis=(1, 2)).any()))
    runner = Runner(Recognizer(model.bundle, Opened(fails, {}, TASKS.load("recognize"))), fails, 8)
    answers = runner.answer(
        (bad if index == 5 else np.zeros((28, 28), np.uint8), None) for index in range(8)
    )
    assert [isinstance(one, Prediction) for one in answers] == [index != 5 for index in range(8)]
    assert "no memory" in str(answers[5])
    assert runner.batch == 8  # the size was not at fault


def test_a_batch_too_large_for_the_memory_is_halved_and_stays_so() -> None:
    model = dlkit.load("digits")
    fails = Fails(model.opened.session, lambda batch: len(batch) > 3)
    runner = Runner(Recognizer(model.bundle, Opened(fails, {}, TASKS.load("recognize"))), fails, 8)
    answers = runner.answer((np.zeros((28, 28), np.uint8), None) for _ in range(24))
    assert all(isinstance(one, Prediction) for one in answers)
    assert runner.batch <= 3
    assert max(fails.sizes) <= 3


@pytest.mark.parametrize("method", ["prepare", "infer", "finish", "finish_all", "encode"])
def test_a_bug_keeps_its_traceback(method: str, tmp_path: Path) -> None:
    """Only what the machine or the input is to blame for becomes a row of the table."""

    def broken(self: object, *_: object) -> object:
        return self.no_such_attribute  # type: ignore[attr-defined]

    pixels = np.zeros((1, 28, 28), np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    with dlkit.load("digits", task="tensors") as model:
        buggy = type("Buggy", (type(model),), {method: broken})(model.bundle, model.opened)
        with pytest.raises(AttributeError, match="no_such_attribute"):
            buggy.run_folder(tmp_path / "x.npy", tmp_path / "out")
        if method != "encode":
            with pytest.raises(AttributeError, match="no_such_attribute"):
                buggy.run(pixels)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_sessions_close_at_the_end_of_with(backend: str) -> None:
    pixels = np.zeros((1, 28, 28), np.uint8)
    with dlkit.load("digits", backend=backend).opened.session as session:
        assert session(pixels).shape == (1, 10)
    with pytest.raises(UsageError, match="was closed"):
        session(pixels)


def test_a_bug_with_one_file_comes_after_the_others(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = sorted(digits_folder.iterdir())[3].name
    decode_all = Recognizer.decode_all

    def buggy(self: Recognizer, data: bytes, path: Any, *more: Any) -> Any:
        if Path(path).name == bad:
            raise AttributeError("no_such_attribute")
        return decode_all(self, data, path, *more)

    monkeypatch.setattr(Recognizer, "decode_all", buggy)
    table = tmp_path / "p.csv"
    done = CliRunner().invoke(app, ["recognize", str(digits_folder), "--out", str(table)])
    assert isinstance(done.exception, AttributeError)
    assert "59 done, 1 failed" in done.output
    with table.open(newline="") as file:
        found = {row["file"]: row["error"] for row in csv.DictReader(file)}
    assert set(found) == {path.name for path in digits_folder.iterdir()}
    assert {name for name, error in found.items() if error} == {bad}
    assert "a bug in dlkit or in a plug-in: AttributeError" in found[bad]
    with monkeypatch.context() as patch:
        patch.setattr(Recognizer, "decode_all", decode_all)
        again = CliRunner().invoke(app, ["recognize", str(digits_folder), "--out", str(table)])
    assert "59 done before, 1 done, 0 failed" in again.output


def test_a_folder_from_python(digits_folder: Path, tmp_path: Path) -> None:
    seen: list[object] = []
    with dlkit.load("digits") as model:
        done = model.run_folder(
            digits_folder, tmp_path / "out", batch=8, watch=lambda *now: seen.append(now)
        )
        assert (done.done, done.skipped, done.failed) == (60, 0, 0)
        assert seen
        again = model.run_folder([digits_folder], str(tmp_path / "out"))
        assert (again.done, again.skipped) == (0, 60)
    answer = json.loads(next((tmp_path / "out").glob("7-*.png.json")).read_text())
    assert answer["label"] == "7"


@pytest.mark.long
def test_threads_that_come_first_at_once_do_not_wait_for_each_other_for_ever() -> None:
    """Half of the tries hung when openvino's binding met NumPy first in two threads at once."""
    code = """
import sys, threading
import numpy as np
from dlkit.bundle import Bundle
from dlkit.runtime.session import open_session
sys.setswitchinterval(1e-6)
session = open_session(Bundle.open("digits"), "openvino", "cpu", callers=2).session
barrier = threading.Barrier(8)
def call():
    barrier.wait()
    session(np.zeros((1, 28, 28), np.uint8))
threads = [threading.Thread(target=call) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    for _ in range(5):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("width", [1024, 1040, 2000, 4096])
def test_strips_cover_every_column_once_and_stay_small(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "MOST_PIXELS", 64 * 1024)
    batch = np.random.default_rng(0).integers(0, 256, (1, 64, width), np.uint8)
    seen = []

    def call(part: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> object:
        seen.append(part.shape)
        return 255 - part

    got = strips.in_strips(call, batch, 16)  # type: ignore[arg-type]
    assert np.array_equal(got, 255 - batch)
    assert all(shape[:2] == (1, 64) and shape[2] % 16 == 0 for shape in seen)
    assert max(shape[2] for shape in seen) <= 1024
    assert len(seen) == (1 if width == 1024 else -(-(width - 256) // 768))


def test_a_wide_scan_in_strips_is_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from dlkit.mmwave import simulate

    scan = np.hstack([simulate(seed, (336, 480)).noisy for seed in range(3)])
    model = dlkit.load("mmwave", backend="onnxruntime")
    whole = model.denoise([scan])[0].astype(int)
    monkeypatch.setattr(strips, "MOST_PIXELS", 336 * 512)
    in_strips = model.denoise([scan])[0].astype(int)
    assert in_strips.shape == scan.shape
    assert 0 < np.abs(in_strips - whole).mean() < 4


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.long
def test_killed_run_leaves_only_whole_files(how: signal.Signals, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (339, 192), dtype=np.uint8)
    for index in range(400):
        cv2.imwrite(str(scans / f"{index}.png"), noise)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "dlkit", "denoise", str(scans), "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background inherits an ignored SIGINT; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(out.glob("*.png"))) < 8:
        time.sleep(0.01)
    os.kill(process.pid, how)
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    written = sorted(out.glob("*.png"))
    assert 8 <= len(written) < 400
    for path in written:
        assert images.read(path).shape == noise.shape
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert not list(out.glob(".*"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("backend", "kind"), [("onnxruntime", "InferenceSession"), ("openvino", "CompiledModel")]
)
def test_what_is_closed_lets_go_of_its_memory_though_it_is_held(backend: str, kind: str) -> None:
    def alive() -> int:
        return sum(type(one).__name__ == kind for one in gc.get_objects())

    gc.collect()
    before = alive()
    model = dlkit.load("digits", backend=backend)
    model.recognize([np.zeros((28, 28), np.uint8)])
    assert alive() > before
    gc.disable()  # a collection would hide who holds it
    try:
        model.close()
        model.close()
        assert alive() == before
        with pytest.raises(UsageError, match="was closed"):
            model.recognize([np.zeros((28, 28), np.uint8)])
    finally:
        gc.enable()


@pytest.mark.parametrize("wrong", [5, None, [], b"digits"])
def test_what_is_no_name_is_said(wrong: Any) -> None:
    for door in (dlkit.load, dlkit.verify, dlkit.evaluate, dlkit.inspect, dlkit.export,
                 dlkit.build_engine):  # fmt: skip
        with pytest.raises(UsageError, match=r"is .*, expected a name or path"):
            door(wrong)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"backend": 5}, "the backend is 5"),
        ({"task": 5}, "the task is 5"),
        ({"threads": 2.5}, r"threads is 2\.5 .*whole number"),
        ({"threads": 0}, "threads is 0"),
        ({"callers": "x"}, "callers is 'x'"),
        ({"callers": 0}, "callers is 0"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dlkit.load("digits", **given)
    dlkit.load("digits", threads=np.int64(1)).close()  # type: ignore[call-overload]


def test_what_is_no_array_is_said() -> None:
    with dlkit.load("digits", task="tensors") as model:
        for wrong in ([1], None, {"pixels": [[1]]}):
            with pytest.raises(InputError, match="expected"):
                model.run(wrong)  # type: ignore[arg-type]
