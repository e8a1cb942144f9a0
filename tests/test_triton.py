"""Model repositories of Triton: read by its own protobuf, and equal to the graph."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import dlkit as public
from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine, EngineKey
from dlkit.cli import app
from dlkit.errors import ExportError, InputError, UsageError
from dlkit.export.triton import to_triton

from .foreign_graphs import Net

TYPES = {"UINT8": np.uint8, "FP32": np.float32, "INT64": np.int64, "FP16": np.float16}
PARSE = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
for path in sys.argv[1:]:
    config = text_format.Parse(open(path).read(), model_config_pb2.ModelConfig())
    print(json.dumps(json_format.MessageToDict(config, preserving_proto_field_name=True)))
"""


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def foreign(folder: Path, batch: int | str = "n") -> Path:
    """A classifier that somebody else exported."""
    net = Net()
    net.batch = batch
    path = folder / "classifier.onnx"
    onnx.save(net.model(), path)
    return path


def repository(folder: Path) -> Path:
    """digits, mmwave and a foreign classifier."""
    repo = folder / "repo"
    (folder / "names.txt").write_text("".join(f"class {n}\n" for n in range(10)))
    for arguments in (
        ("digits",),
        ("mmwave", "--batch", "1:2:4"),
        (
            foreign(folder), "--task", "recognize", "--labels", folder / "names.txt",
            "--out", folder / "bundle",
        ),
    ):  # fmt: skip
        done = dlkit("export", *arguments, "--triton", repo)
        assert done.exit_code == 0, (done.output, done.exception)
    return repo


def ranks(graph: Path) -> dict[str, tuple[Any, list[int]]]:
    """Type and sizes without the first, -1 where free, by the names of inputs and outputs."""
    found = {}
    model = onnx.load(graph)
    for one in (*model.graph.input, *model.graph.output):
        tensor = one.type.tensor_type
        first, *rest = tensor.shape.dim
        assert not first.HasField("dim_value"), "its batch is fixed"
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        found[one.name] = (kind, [d.dim_value if d.HasField("dim_value") else -1 for d in rest])
    return found


def test_what_is_written(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    assert {path.name for path in repo.iterdir()} == {"digits", "mmwave", "classifier"}
    for model in repo.iterdir():
        text = (model / "config.pbtxt").read_text()
        graph = ranks(model / "1" / "model.onnx")
        for name, (kind, sizes) in graph.items():
            found = re.search(
                rf'name: "{name}"\n  data_type: TYPE_(\w+)\n  dims: \[ ([-\d, ]+) \]', text
            )
            assert found is not None
            assert TYPES[found[1]] == kind
            assert [int(one) for one in found[2].split(",")] == sizes
        assert 'label_filename: "labels.txt"' in text or model.name == "mmwave"
    assert (repo / "digits" / "labels.txt").read_text().split() == list("0123456789")
    assert "class 9\n" in (repo / "classifier" / "labels.txt").read_text()
    assert "max_batch_size: 4\n" in (repo / "mmwave" / "config.pbtxt").read_text()
    # the warm-up is an image that the model recognizes
    data = np.frombuffer((repo / "digits" / "warmup" / "sample-0").read_bytes(), np.uint8)
    with public.load("digits") as digits:
        assert digits.recognize([data.reshape(28, 28)])[0].probability > 0.9
    size = (repo / "mmwave" / "warmup" / "sample-0").stat().st_size
    assert size == 688 * 384
    # again is no matter; somebody else's model stays
    assert dlkit("export", "digits", "--triton", repo).exit_code == 0
    (repo / "mmwave" / "config.pbtxt").write_text('name: "mine"\n')
    refused = dlkit("export", "mmwave", "--triton", repo).exception
    assert isinstance(refused, UsageError)
    assert (repo / "mmwave" / "config.pbtxt").read_text() == 'name: "mine"\n'


@pytest.mark.long
def test_tritons_own_protobuf_reads_it(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    assert dlkit("export", "digits", "--triton", tmp_path / "r", "--response-cache").exit_code == 0
    place = tmp_path / "venv"  # tritonclient's pins are not ours
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "tritonclient[grpc]"]
    subprocess.run(pip, check=True)
    paths = [*sorted(repo.rglob("config.pbtxt")), tmp_path / "r" / "digits" / "config.pbtxt"]
    lines = subprocess.run(
        [python, "-c", PARSE, *paths], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for path, line in zip(paths, lines, strict=True):
        config = json.loads(line)
        graph = ranks(path.parent / "1" / "model.onnx")
        assert config["name"] == path.parent.name
        assert config["backend"] == "onnxruntime"
        tensors = [*config["input"], *config["output"]]
        assert [one["name"] for one in tensors] == list(graph)
        for one in tensors:
            kind, sizes = graph[one["name"]]
            assert TYPES[one["data_type"].removeprefix("TYPE_")] == kind
            assert [int(size) for size in one["dims"]] == sizes
        (group,) = config["instance_group"]
        assert group == {"count": 1, "kind": "KIND_AUTO"} or group == {"count": 1}
        policy = config["dynamic_batching"]["default_queue_policy"]
        assert policy["max_queue_size"] == 16 * config["max_batch_size"]
        (warm,) = config["model_warmup"]
        for name, value in warm["inputs"].items():
            if path.parent.name == "classifier":  # nobody has an image of its classes
                assert value["random_data"]
                continue
            file = path.parent / "warmup" / value["input_data_file"]
            item = np.dtype(graph[name][0]).itemsize
            assert file.stat().st_size == item * np.prod([int(one) for one in value["dims"]])
        assert ("response_cache" in config) == (path.parts[-3] == "r")


def engine(bundle: Bundle, path: Path, flavor: str) -> Engine:
    shapes = {"pixels": ((1, 28, 28), (4, 28, 28), (48, 28, 28))}
    key = EngineKey(bundle.sha256, flavor, "10.8", "fp32", (), shapes, ())
    path.write_bytes(b"engine")
    from dlkit.bundle import sha256

    return Engine(path, key, sha256(path), {}, {})


def test_an_engine_has_its_own_largest_batch(tmp_path: Path) -> None:
    bundle = Bundle.open("digits")
    made = engine(bundle, tmp_path / "a.engine", "tensorrt")
    text = (to_triton(bundle, tmp_path / "repo", made, largest=512) / "config.pbtxt").read_text()
    assert 'backend: "tensorrt"\nmax_batch_size: 48\n' in text
    assert "kind: KIND_GPU" in text
    assert (tmp_path / "repo" / "digits" / "1" / "model.plan").read_bytes() == b"engine"
    with pytest.raises(ExportError, match="Triton has no backend"):
        to_triton(bundle, tmp_path / "repo", engine(bundle, made.path, "tensorrt_rtx"))


def test_what_triton_could_not_load_is_refused(tmp_path: Path) -> None:
    done = dlkit(
        "export", foreign(tmp_path, 3), "--out", tmp_path / "b", "--triton", tmp_path / "r"
    )
    assert isinstance(done.exception, ExportError)
    assert "has a batch of 3, and Triton's batches are of any size" in str(done.exception)
    assert not (tmp_path / "r").exists()
    bundle = Bundle.open("digits")
    first = bundle.spec.input
    for inputs, text in (
        ((first, replace(first, name="other", shape=("m", 28, 28))), "do not all count samples"),
        ((replace(first, shape=()),), "no axis at all"),
        ((replace(first, dtype="complex64"),), "a type that Triton does not know"),
    ):
        with pytest.raises(ExportError, match=text):
            to_triton(replace(bundle, spec=replace(bundle.spec, inputs=inputs)), tmp_path / "r")
    assert isinstance(dlkit("export", "digits", "--response-cache").exception, UsageError)


def test_batch_and_delay_come_from_a_report(tmp_path: Path) -> None:
    bundle, report = Bundle.open("digits"), tmp_path / "speed.json"

    def row(batch: int, rate: float, sha256: str = bundle.sha256) -> dict[str, Any]:
        spread = {"median": rate, "low": rate, "high": rate}
        return {
            "batch": batch, "samples_per_s": spread, "sha256": sha256,
            "latency_s": {"p50": batch / rate, "p90": None, "p99": None},
        }  # fmt: skip

    rows = [row(1, 1000), row(64, 16000), row(256, 15000), row(1024, 9e9), row(8, 9e9, "other")]
    report.write_text(json.dumps({"inference": rows}))
    path = to_triton(bundle, tmp_path / "r", report=report)
    text = (path / "config.pbtxt").read_text()
    assert "preferred_batch_size: [ 64 ]\n  max_queue_delay_microseconds: 2000\n" in text
    report.write_text(json.dumps({"inference": [row(8, 9e9, "other")]}))
    with pytest.raises(InputError, match="has no batch up to 512"):
        to_triton(bundle, tmp_path / "r", report=report)
    report.write_text("{}")
    with pytest.raises(InputError, match="is no result of dlkit bench"):
        to_triton(bundle, tmp_path / "r", report=report)


@pytest.mark.long
def test_a_true_report(tmp_path: Path) -> None:
    report = tmp_path / "speed.json"
    command = [
        sys.executable, "-m", "dlkit", "bench", "digits", "--backend", "onnxruntime",
        "--batches", "1,16", "--seconds", "0.05", "--rounds", "1", "--json", str(report),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    assert dlkit("export", "digits", "--triton", tmp_path / "r", "--report", report).exit_code == 0
    # which batch is best is the machine's to say; one sample prefers nothing
    assert "max_batch_size: 512" in (tmp_path / "r" / "digits" / "config.pbtxt").read_text()
