"""dlkit bench: what it measures and shows. Speeds are never asserted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from dlkit.bench import graph, measure, plan, words
from dlkit.bench.report import html
from dlkit.bundle import Bundle, shipped
from dlkit.runtime.session import runnable
from dlkit.training.recipe import load_recipe
from dlkit.training.summary import summarise

QUICK = ("--seconds", "0.01", "--rounds", "2", "--device", "cpu")


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dlkit", "bench", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80"},
        timeout=300,
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, digits_folder: Path) -> Any:
    """One quick run over a folder: its folder, its output and its JSON."""
    folder = tmp_path_factory.mktemp("bench")
    done = run(
        *("digits", "--folder", digits_folder, "--batches", "1,3", *QUICK),
        *("--json", "b.json", "--html", "b.html"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder, done, json.loads((folder / "b.json").read_text())


def test_every_way_is_measured_beside_its_metric(measured: Any) -> None:
    _, _, result = measured
    bundle = Bundle.open("digits")
    ways = {name for name, device in runnable(bundle) if device == "cpu"}
    rows = result["inference"]
    assert {(row["backend"], row["batch"]) for row in rows} == {
        (w, b) for w in ways for b in (1, 3)
    }
    for row in rows:
        speed, late = row["images_per_s"], row["latency_s"]
        assert 0 < speed["low"] <= speed["median"] <= speed["high"]
        assert late["p50"] <= (late["p90"] or late["p50"]) <= (late["p99"] or 1e9)
        assert row["calls"] >= 2
        assert row["metrics"] == {"accuracy": pytest.approx(0.99, abs=0.01)}
        assert row["peak_bytes"]["median"] > 1e6
        assert row["load_s"]["median"] > 0
        assert row["share_of_ceiling"] > 0
        assert row["sha256"] == bundle.sha256
    assert {row["backend"] for row in result["folder"]} == ways
    for row in result["folder"]:
        assert row["images"] == 60
        assert row["seconds"]["low"] > row["start_s"]["low"] * 0.2
        assert row["bound_images_per_s"] > 0
    top = result["ceiling"]
    assert top["gflops"]["median"] > 0
    assert top["copy_gb_s"]["median"] > 0
    assert top["images"][0]["decode_per_s"]["median"] > 0
    assert result["machine"]["processors"] >= 1
    assert 0 <= result["machine"]["others_percent"] <= 100
    assert not result["failed"]


def test_the_screen_fits_80_columns_and_names_the_metric(measured: Any) -> None:
    _, done, result = measured
    metric = words.metrics(result["inference"][0], short=True)
    tables = [line for line in done.stdout.splitlines() if "onnxruntime cpu" in line]
    assert len(tables) >= 3
    assert all(len(line) <= 80 and metric in line for line in tables)
    assert "…" not in done.stdout
    assert done.stdout.splitlines()[-2:] == ["b.json", "b.html"]


def test_the_report_is_one_whole_file_without_network(measured: Any) -> None:
    folder, _, result = measured
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
        assert words.number(row["images_per_s"]["median"]) in seen
        assert words.metrics(row) in seen
    bars = page.findall(".//div[@class='bar']")
    assert len(bars) == 3 * len(result["inference"]) + len(result["folder"])
    styles = [node.get("style", "") for node in page.iter()]
    places = [float(number) for style in styles for number in re.findall(r":([-\d.]+)%", style)]
    assert all(0 <= place <= 100 for place in places)
    assert result["command"] in "".join(page.itertext())


def test_precisions_of_one_network_are_compared_in_one_table(
    bundle_of: Any, tmp_path: Path
) -> None:
    bundles = [bundle_of("mlp", precision) for precision in ("fp32", "fp16")]
    one_backend = ("--backend", "onnxruntime", "--batches", "2")
    done = run(
        *(bundle.path for bundle in bundles), *one_backend, *QUICK, "--html", "b.html", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "mlp fp32, fp16, 28x28" in done.stdout
    page = ElementTree.parse(tmp_path / "b.html")
    labels = ["".join(node.itertext()) for node in page.findall(".//span[@class='label']")]
    assert labels[:2] == [f"{name}, onnxruntime cpu, batch 2" for name in ("fp32", "fp16")]
    assert "not certified" in "".join(page.getroot().itertext())


def test_what_cannot_run_is_listed_with_the_reason(bundle_of: Any, tmp_path: Path) -> None:
    bundles = {"a": bundle_of("mlp", "bf16"), "b": bundle_of("mlp", "fp32")}
    ways, left_out = plan.ways(bundles, (2,), (), "cpu", False)
    assert {(way.name, way.backend) for way in ways} >= {("a", "openvino"), ("b", "onnxruntime")}
    (out,) = [out for out in left_out if out.what == "onnxruntime cpu (a)"]
    assert "bfloat16" in out.reason
    done = run(bundles["a"].path, "--backend", "onnxruntime", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 2
    assert "onnxruntime cannot run mlp bf16: onnxruntime has no bfloat16" in done.stderr


def test_the_report_escapes_and_says_what_is_missing(measured: Any) -> None:
    _, _, result = measured
    poor = json.loads(json.dumps(result))
    poor["ceiling"] = None
    poor["failed"] = [{"what": "<b>&", "reason": "no 'memory'"}]
    for row in [*poor["inference"], *poor["folder"]]:
        row.update(metrics=None, peak_bytes=None)
    for row in poor["inference"]:
        row.update(share_of_ceiling=None, latency_s={"p50": 0.1, "p90": None, "p99": None})
    for row in poor["folder"]:
        row.update(bound_images_per_s=None, share_of_bound=None, images_per_s_after_start=None)
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
        (("digits", "--backend", "onnxruntim"), ["did you mean onnxruntime"]),
        (("digits", "--backend", "openvino", "--device", "cuda"), ["openvino cannot run digits"]),
        (("digits", "--device", "tpu"), ["unknown device 'tpu'", "cpu"]),
        (("digits", "--batches", "1,none"), ["--batches is '1,none'", "1,16,64"]),
        (("digits", "--size", "big"), ["--size is 'big'", "678x384"]),
        (("digits", "--folder", "nowhere"), ["nowhere is no folder"]),
        (("digits", "--folder", "."), ["no images in --folder .", ".png"]),
        (("digits", "mmwave", "--folder", "."), ["denoise and recognize", "once for each task"]),
        (("digits", "digits"), ["given twice"]),
        (("digits", "--json", "no/such/place.json"), ["cannot be written", "another place"]),
    ],
)
def test_bad_input_is_answered_well(
    arguments: tuple[str, ...], words_expected: list[str], tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words_expected:
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_takes_too_long_or_fails_is_said_and_the_rest_is_measured(tmp_path: Path) -> None:
    arguments = ("mmwave", "--backend", "onnxruntime", "--size", "400x400", "--batches", "1,500")
    done = run(*arguments, *QUICK, "--json", "b.json", cwd=tmp_path)
    assert done.returncode == 1
    result = json.loads((tmp_path / "b.json").read_text())
    assert [row["batch"] for row in result["inference"]] == [1]
    assert len(result["failed"]) == 1
    assert "one call would take about" in result["failed"][0]["reason"]
    assert "failed: mmwave fp32, onnxruntime cpu, batch 500" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    bench = subprocess.Popen(
        [sys.executable, "-m", "dlkit", "bench", "digits", "--seconds", "60", "--json", "b.json"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    import psutil

    process = psutil.Process(bench.pid)
    deadline = time.monotonic() + 60
    while not (workers := process.children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    bench.send_signal(signal.SIGINT)
    _, complaint = bench.communicate(timeout=60)
    assert bench.returncode == 130, complaint
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


@pytest.mark.parametrize("recipe", ["lenet", "wgan_small", "resnet_small"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_arithmetic_of_the_graph_is_that_of_the_network(
    bundle_of: Any, recipe: str, precision: str
) -> None:
    bundle = bundle_of(recipe, precision)
    expected = summarise(recipe)
    shape = plan.input_shape(
        bundle, 1, (expected.size if load_recipe(recipe).task == "denoise" else (28, 28))
    )
    counted = graph.multiply_adds(bundle.onnx, shape)
    assert counted is not None
    assert 2 * counted / 1e9 == pytest.approx(expected.gflop, rel=0.01)


def test_arithmetic_is_not_made_up_where_onnx_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph.importlib.util, "find_spec", lambda name: None)
    assert graph.multiply_adds(Bundle.open("digits").onnx, (1, 28, 28)) is None


def test_a_metric_belongs_to_the_file_and_backend_that_ran() -> None:
    for name in shipped():
        bundle = Bundle.open(name)
        for backend, device in runnable(bundle):
            way = plan.Way(name, bundle, backend, device, 1)
            if device == "cpu":
                assert plan.certified(way, bundle.sha256)
            assert plan.certified(way, "0" * 64) is None
