"""dlkit bench: what it measures and shows. Speeds are never asserted."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from typer.testing import CliRunner

from dlkit import graph
from dlkit.bench import calls, measure, plan, words
from dlkit.bench.report import html
from dlkit.bench.run import bench
from dlkit.bundle import Bundle, Certificate
from dlkit.bundle.certificate import Inputs, Measured, Reference
from dlkit.cli import app
from dlkit.errors import BackendError, DlkitError
from dlkit.runtime.session import runnable
from dlkit.spec import ModelSpec, TensorSpec

from .long import long

DIGITS = Path(__file__).parent.parent / "samples" / "digits"
QUICK = ("--seconds", "0.01", "--rounds", "1", "--device", "cpu")


def on_cpu(bundle: Bundle) -> list[str]:
    return [name for name, device in runnable(bundle) if device == "cpu"]


def certified(path: Path, accuracy: float) -> Bundle:
    """The shipped digits with a certificate for every backend of this processor."""
    bundle = Bundle.open("digits").copy(path)
    rows = tuple(
        Measured(
            name, "cpu", "fp32", bundle.sha256, 0.0, 0.0, True, 1.0, {"accuracy": accuracy}, True
        )
        for name in on_cpu(bundle)
    )
    return bundle.with_certificate(
        Certificate(
            onnx_sha256=bundle.sha256,
            spec_sha256=bundle.spec_sha256,
            date="2026-01-01",
            reference=Reference("torch", "0" * 64),
            inputs=Inputs("test images", 1000, "0" * 64),
            tolerances={},
            measured=rows,
            versions={},
            hardware={},
        )
    )


def labelled(path: Path, precision: str) -> Bundle:
    """The shipped digits, said to be of another precision."""
    source = Bundle.open("digits")
    spec = replace(source.spec, precision=precision)
    return Bundle.create(path, source.onnx.read_bytes(), spec, {})


def sums(path: Path, batch: int | str = "n") -> Bundle:
    """``a @ w + b``: two inputs, a free axis that is no height."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shapes: dict[str, Sequence[int | str]] = {
        "a": (batch, "t", 8),
        "b": (batch, "t", 4),
        "y": (batch, "t", 4),
    }
    a, b, y = (helper.make_tensor_value_info(name, kind, list(s)) for name, s in shapes.items())
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["y"]),
    ]
    weights = helper.make_tensor("w", kind, [8, 4], [0.1] * 32)
    model = helper.make_model(
        helper.make_graph(nodes, "sums", [a, b], [y], [weights]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    one, two, out = (TensorSpec(name, "float32", tuple(s)) for name, s in shapes.items())
    spec = ModelSpec("sums", "tensors", "fp32", (one, two), (out,))
    return Bundle.create(path, model.SerializeToString(), spec, {})


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One quick run over a folder: its bundle, its files, its output and its JSON."""
    folder = tmp_path_factory.mktemp("bench")
    bundle = certified(folder / "certified", 0.99)
    files = [str(folder / name) for name in ("b.json", "b.html")]
    done = CliRunner().invoke(
        app,
        [
            *("bench", str(bundle.path), "--folder", str(DIGITS), "--batches", "1,3", *QUICK),
            *("--json", files[0], "--html", files[1]),
        ],
        env={"COLUMNS": "80"},
    )
    assert done.exit_code == 0, done.output
    return bundle, folder, done, json.loads((folder / "b.json").read_text())


@pytest.mark.long
def test_every_way_is_measured_beside_its_metric(measured: Any) -> None:
    bundle, _, _, result = measured
    ways = set(on_cpu(bundle))
    rows = result["inference"]
    assert {(row["backend"], row["batch"]) for row in rows} == {
        (w, b) for w in ways for b in (1, 3)
    }
    for row in rows:
        speed, late = row["samples_per_s"], row["latency_s"]
        assert 0 < speed["low"] <= speed["median"] <= speed["high"]
        assert late["p50"] <= (late["p90"] or late["p50"]) <= (late["p99"] or 1e9)
        assert row["calls"] >= 1
        assert row["metrics"] == {"accuracy": 0.99}
        assert row["peak_bytes"]["median"] > 1e6
        assert row["load_s"]["median"] > 0
        assert row["share_of_ceiling"] > 0
        assert row["sha256"] == bundle.sha256
    assert {row["backend"] for row in result["folder"]} == ways
    for row in result["folder"]:
        assert row["files"] == len(list(DIGITS.glob("*.png")))
        assert row["seconds"]["low"] > row["start_s"]["low"] * 0.2
        assert row["bound_samples_per_s"] > 0
    (about,) = result["bundles"]
    assert (about["inputs"], about["sample"]) == ({"pixels": [28, 28]}, "image")
    assert about["metrics_of"] == "test images"
    top = result["ceiling"]
    assert top["gflops"]["median"] > 0
    assert top["copy_gb_s"]["median"] > 0
    assert top["images"][0]["decode_per_s"]["median"] > 0
    assert result["machine"]["processors"] >= 1
    assert 0 <= result["machine"]["others_percent"] <= 100
    assert not result["failed"]


@pytest.mark.long
def test_the_screen_fits_80_columns_and_names_the_metric(measured: Any) -> None:
    _, folder, done, result = measured
    metric = words.metrics(result["inference"][0], short=True)
    tables = [line for line in done.stdout.splitlines() if "onnxruntime cpu" in line]
    assert len(tables) >= 3
    assert all(len(line) <= 80 and metric in line for line in tables)
    assert "…" not in done.stdout
    shown = "".join(done.stdout.splitlines()[-2:])
    assert shown == "".join(str(folder / name) for name in ("b.json", "b.html"))


@pytest.mark.long
def test_the_report_is_one_whole_file_without_network(measured: Any) -> None:
    _, folder, _, result = measured
    text = (folder / "b.html").read_text()
    page = ElementTree.fromstring(text)
    assert "http://" not in text
    assert "https://" not in text
    assert not re.search(r"url\(|@import|<script|<link|<img|<iframe", text)
    assert not any(name in node.attrib for node in page.iter() for name in ("src", "href"))
    rows = page.findall(".//tbody/tr")
    assert len(rows) == len(result["inference"]) + len(result["folder"])
    words_of = ["".join(row.itertext()) for row in rows]
    for row, seen in zip([*result["inference"], *result["folder"]], words_of, strict=True):
        assert row["backend"] in seen
        assert words.number(row["samples_per_s"]["median"]) in seen
        assert words.metrics(row) in seen
    bars = page.findall(".//div[@class='bar']")
    assert len(bars) == 3 * len(result["inference"]) + len(result["folder"])
    styles = [node.get("style", "") for node in page.iter()]
    places = [float(number) for style in styles for number in re.findall(r":([-\d.]+)%", style)]
    assert all(0 <= place <= 100 for place in places)
    assert result["command"] in "".join(page.itertext())


@pytest.mark.long
def test_precisions_of_one_network_are_compared_in_one_table(tmp_path: Path) -> None:
    bundles = [labelled(tmp_path / precision, precision) for precision in ("fp32", "fp16")]
    arguments = ["bench", *(str(bundle.path) for bundle in bundles), *QUICK]
    arguments += ["--backend", "onnxruntime", "--batches", "2", "--html", str(tmp_path / "b.html")]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert f"{bundles[0].spec.name} fp32, fp16, 28x28" in done.stdout
    page = ElementTree.parse(tmp_path / "b.html")
    labels = ["".join(node.itertext()) for node in page.findall(".//span[@class='label']")]
    assert labels[:2] == [f"{name}, onnxruntime cpu, batch 2" for name in ("fp32", "fp16")]
    assert "not certified" in "".join(page.getroot().itertext())


def test_what_cannot_run_is_listed_with_the_reason(tmp_path: Path) -> None:
    bundles = {name: labelled(tmp_path / name, name) for name in ("bf16", "fp32")}
    settings = plan.Settings(bundles=(), batches=(2,), device="cpu")
    ways, left_out = plan.ways(bundles, settings, False)
    runs = {(way.name, way.backend) for way in ways}
    assert runs >= {("bf16", "openvino"), ("fp32", "onnxruntime")}
    (out,) = [out for out in left_out if out.what == "onnxruntime cpu (bf16)"]
    assert "bfloat16" in out.reason
    named = replace(settings, backends=("onnxruntime",))
    with pytest.raises(BackendError, match="onnxruntime cannot run bf16: onnxruntime has no"):
        plan.ways(bundles, named, False)


@pytest.mark.long
def test_any_graph_is_measured_on_random_arrays(tmp_path: Path) -> None:
    bundle = sums(tmp_path / "sums")
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    for index in range(3):
        a, b = (np.ones((2, 5, width), np.float32) for width in (8, 4))
        np.savez(arrays / f"{index}.npz", a=a, b=b)
    result = bench(
        [bundle], folder=arrays, batches=[1, 3], backends=["onnxruntime"], device="cpu",
        seconds=0.01, rounds=1,
    )  # fmt: skip
    assert [row["batch"] for row in result["inference"]] == [1, 3]
    (about,) = result["bundles"]
    assert (about["inputs"], about["sample"]) == ({"a": [128, 8], "b": [128, 4]}, "sample")
    assert about["multiply_adds"] == 128 * 8 * 4
    (row,) = result["folder"]
    assert row["files"] == 3
    assert row["bound_samples_per_s"] is None  # nothing is decoded that could be timed
    page = ElementTree.fromstring(html(result))
    assert "samples/s" in "".join(page.itertext())


def test_a_fixed_batch_is_the_one_that_is_measured(tmp_path: Path) -> None:
    bundles = {"sums": sums(tmp_path / "sums", batch=2)}
    settings = plan.Settings(bundles=(), backends=("onnxruntime",), device="cpu")
    ways, left_out = plan.ways(bundles, settings, False)
    assert [way.batch for way in ways] == [2]
    assert not left_out
    ways, left_out = plan.ways(bundles, replace(settings, batches=(1, 2, 5)), False)
    assert [way.batch for way in ways] == [1, 2, 5]  # others run in parts
    assert not left_out
    fed = calls.feeds(bundles["sums"].spec, 5, (28, 28), {"t": 6})
    assert {name: array.shape for name, array in fed.items()} == {"a": (5, 6, 8), "b": (5, 6, 4)}


@pytest.mark.long
def test_the_report_escapes_and_says_what_is_missing(measured: Any) -> None:
    poor = copy.deepcopy(measured[-1])
    poor["ceiling"] = None
    poor["failed"] = [{"what": "<b>&", "reason": "no 'memory'"}]
    for row in [*poor["inference"], *poor["folder"]]:
        row.update(metrics=None, peak_bytes=None)
    for row in poor["inference"]:
        row.update(share_of_ceiling=None, latency_s={"p50": 0.1, "p90": None, "p99": None})
    for row in poor["folder"]:
        row.update(bound_samples_per_s=None, share_of_bound=None, samples_per_s_after_start=None)
    for bundle in poor["bundles"]:
        bundle.update(multiply_adds=None, metrics_of=None)
    page = ElementTree.fromstring(html(poor))
    seen = "".join(page.itertext())
    assert "<b>& failed: no 'memory'" in seen
    assert seen.count("not certified") >= len(poor["inference"])


@pytest.mark.parametrize(
    ("arguments", "words_expected"),
    [
        (("nothing-here",), ["no bundle at nothing-here", "digits"]),
        (("digits", "--backend", "onnxruntim"), ["Did you mean onnxruntime"]),
        (("digits", "--backend", "openvino", "--device", "cuda"), ["openvino cannot run digits"]),
        (("digits", "--device", "tpu"), ["unknown device 'tpu'", "cpu"]),
        (("digits", "--batches", "1,none"), ["--batches is '1,none'", "1,16,64"]),
        (("digits", "--size", "big"), ["--size is 'big'", "678x384"]),
        (("digits", "--folder", "nowhere"), ["nowhere is no folder"]),
        (("digits", "--folder", "."), ["nothing in --folder .", ".png"]),
        (("digits", "mmwave", "--folder", "."), ["denoise and recognize", "once for each task"]),
        (("digits", "digits"), ["given twice"]),
        (("digits", "--json", "."), ["--json . is a folder"]),
        (("digits", "--html", "/proc/no/b.html"), ["cannot be written", "another --html"]),
    ],
)
def test_bad_input_is_answered_well(
    arguments: tuple[str, ...],
    words_expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DlkitError) as caught:
        app(["bench", *arguments], standalone_mode=False)
    for word in words_expected:
        assert word.lower() in str(caught.value).lower()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_what_takes_too_long_or_fails_is_said_and_the_rest_is_measured(tmp_path: Path) -> None:
    arguments = ["mmwave", "--backend", "onnxruntime", "--size", "160x160", "--batches", "1,500"]
    where = tmp_path / "b.json"
    done = CliRunner().invoke(app, ["bench", *arguments, *QUICK, "--json", str(where)])
    assert done.exit_code == 1
    result = json.loads(where.read_text())
    assert [row["batch"] for row in result["inference"]] == [1]
    assert len(result["failed"]) == 1
    assert "one call would take about" in result["failed"][0]["reason"]
    assert "failed: mmwave fp32, onnxruntime cpu, batch 500" in done.stdout


@pytest.mark.long
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    running = subprocess.Popen(
        [sys.executable, "-m", "dlkit", "bench", "digits", "--seconds", "60", "--json", "b.json"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    process = psutil.Process(running.pid)
    deadline = time.monotonic() + 60
    while not (workers := process.children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    running.send_signal(signal.SIGINT)
    _, complaint = running.communicate(timeout=60)
    # a shell says 130 of both; CPython ends by the signal where it came in an exec() of a string,
    # as dataclasses have, whoever catches it
    assert running.returncode in (130, -signal.SIGINT), complaint
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "b.json").exists()


def test_rounds_take_turns_and_a_failed_way_is_not_tried_again() -> None:
    tried = []

    def measure_one(way: str) -> dict[str, Any]:
        tried.append(way)
        return {"error": "broken"} if way == "b" else {"turn": len(tried)}

    found, errors = measure.interleave(["a", "b", "c"], 3, measure_one)
    assert tried == ["a", "b", "c", "c", "a", "c", "a"]
    assert errors == {"b": "broken"}
    assert {way: len(results) for way, results in found.items()} == {"a": 3, "c": 3}


def test_calls_are_timed_until_the_time_is_over() -> None:
    now = 0.0

    def clock() -> float:
        return now

    durations = iter([0.1, 0.3, 0.2, 9.0])

    def call() -> None:
        nonlocal now
        now += next(durations)

    latencies, total = measure.timed_calls(call, 0.5, clock)
    assert latencies == pytest.approx([0.1, 0.3, 0.2])
    assert total == pytest.approx(0.6)
    latencies, total = measure.timed_calls(call, 0.5, clock)  # at least one, however long
    assert latencies == pytest.approx([9.0])


def test_medians_spread_and_percentiles() -> None:
    assert measure.Spread.of([3.0, 1.0, 2.0]) == measure.Spread(2.0, 1.0, 3.0)
    many = [index / 10_000 for index in range(10_000)]
    kept = measure.sketch(many[::-1])
    assert len(kept) == 1000
    exact = measure.percentiles([kept, kept], 20_000)
    assert exact["p99"] == pytest.approx(0.99, abs=1e-3)
    few = measure.percentiles([[0.2, 0.1], [0.3]], 3)
    assert few == {"p50": 0.2, "p90": None, "p99": None}


@pytest.mark.parametrize(
    "recipe",
    ["mlp", *map(long, ("lenet", "wgan_small", "resnet_small"))],
)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_arithmetic_of_the_graph_is_that_of_the_network(
    bundle_of: Any, recipe: str, precision: str
) -> None:
    from dlkit.training.summary import summarise  # torch, which no other test here needs

    bundle = bundle_of(recipe, precision)
    expected = summarise(recipe)
    shapes = calls.input_shapes(bundle.spec, 1, (expected.shape[-2], expected.shape[-1]))
    counted = graph.multiply_adds(bundle.onnx, shapes)
    assert counted is not None
    assert 2 * counted / 1e9 == pytest.approx(expected.gflop, rel=0.01)


def test_arithmetic_is_not_made_up_where_onnx_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph.importlib.util, "find_spec", lambda name: None)
    assert graph.multiply_adds(Bundle.open("digits").onnx, (1, 28, 28)) is None


def test_a_metric_belongs_to_the_file_and_backend_that_ran(tmp_path: Path) -> None:
    bundle = certified(tmp_path / "certified", 0.5)
    for backend in on_cpu(bundle):
        way = plan.Way("digits", bundle, backend, "cpu", 1)
        assert plan.certified(way, bundle.sha256) == {"accuracy": 0.5}
        assert plan.certified(way, "0" * 64) is None
        assert plan.certified(replace(way, device="cuda"), bundle.sha256) is None
        assert plan.certified(replace(way, backend="other"), bundle.sha256) is None


def test_the_function_and_the_folder_of_one_name() -> None:
    import dlkit
    from dlkit.bench import run

    assert dlkit.bench is run.bench  # also after the folder was imported
    assert dlkit.bench is run.bench


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": -1}, "seconds is -1"),
        ({"rounds": 0}, "rounds is 0"),
        ({"batches": [0]}, "batch is 0"),
        ({"threads": "two"}, "threads is 'two'"),
    ],
)
def test_numbers_that_never_end_or_never_begin(given: dict[str, Any], words: str) -> None:
    with pytest.raises(DlkitError, match=words):
        bench(["digits"], backends=["onnxruntime"], **given)


def test_one_name_is_a_list_of_it() -> None:
    with pytest.raises(DlkitError, match="there is no bundle at nowhere"):
        bench("nowhere")
