"""Sessions of any graph: several inputs and outputs of mixed types, scalars, fixed batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

import dlkit
from dlkit.bench import calls, plan
from dlkit.bench.run import bench
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.doctor import examine
from dlkit.errors import BackendError, InputError
from dlkit.runtime.fixed_batch import FixedBatch
from dlkit.runtime.runner import Runner
from dlkit.runtime.session import open_session, runnable
from dlkit.tasks import TASKS

from .graphs import bundle, graph, node, rising, value

CPU = ("onnxruntime", "openvino")
SCORES = rising(28 * 28, 10)


def fixed(path: Path, batch: int = 2, task: str = "recognize") -> Bundle:
    """Digits as most exporters write them: ``batch`` in the graph."""
    nodes = [
        node("Cast", ["pixels"], ["x"], to=onnx.TensorProto.FLOAT),
        node("Reshape", ["x", "flat"], ["f"]),
        node("MatMul", ["f", "w"], ["logits"]),
        node("Softmax", ["logits"], ["y"]),
    ]
    model = graph(
        nodes,
        [value("pixels", (batch, 28, 28), "uint8")],
        [value("y", (batch, 10))],
        {"flat": np.array([batch, 784]), "w": SCORES / 255},
    )
    labels = tuple("0123456789") if task == "recognize" else ()
    return bundle(path, model, task=task, labels=labels)


def mixed(path: Path, kinds: tuple[str, ...] = ("int64", "bool", "float16", "uint16")) -> Bundle:
    """Two inputs, one of them a scalar and one that nothing takes; outputs of several types."""
    nodes = [node("Mul", ["x", "by"], ["p"])]
    for kind in kinds:
        to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        nodes.append(node("Cast", ["p"], [kind], to=to))
    nodes.append(node("ReduceMax", ["p"], ["most"], keepdims=0))
    model = graph(
        nodes,
        [value("unused", ("n", 3)), value("x", ("n", 3)), value("by", ())],
        [*(value(kind, ("n", 3), kind) for kind in kinds), value("most", ())],
    )
    return bundle(path, model)


@pytest.mark.parametrize("backend", CPU)
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_fixed_batch_takes_any_number_of_samples(
    backend: str, batch: int, tmp_path: Path
) -> None:
    session = open_session(fixed(tmp_path / "b", batch), backend, "cpu").session
    assert isinstance(session, FixedBatch)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    logits = pixels.reshape(7, -1).astype(np.float32) @ (SCORES / 255)
    for count in (1, batch, 7, 0):
        (found,) = session.run({"pixels": pixels[:count]}).values()
        assert (session(pixels[:count]) == found).all()
        assert found.shape == (count, 10)
        assert (found.argmax(axis=1) == logits[:count].argmax(axis=1)).all()
        assert np.allclose(found.sum(axis=1), 1, atol=1e-3)


def test_tasks_do_not_know_of_a_fixed_batch(tmp_path: Path) -> None:
    made = fixed(tmp_path / "b", 3)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 28, 28), dtype=np.uint8)
    logits = pixels.reshape(8, -1).astype(np.float32) @ (SCORES / 255)
    with dlkit.load(made, device="cpu", task="recognize") as model:
        found = Runner(model, model.opened.session, 5).answer((one, None) for one in pixels)
        assert len(found) == 8
        names = [one.label for one in model.recognize(list(pixels))]
    assert names == [str(best) for best in logits.argmax(axis=1)]


def test_tensors_of_the_fixed_shape_pass_unchanged(tmp_path: Path) -> None:
    made = fixed(tmp_path / "b", 2, "tensors")
    pixels = np.ones((2, 28, 28), np.uint8)
    with dlkit.load(made, "onnxruntime", task="tensors") as model:
        assert model.run(pixels)["y"].shape == (2, 10)
        with pytest.raises(InputError, match="free first axis"):
            model.run(pixels[:1])
    session = open_session(made, "onnxruntime", "cpu").session
    assert isinstance(session, FixedBatch)
    inner = session.session
    assert (inner.run({"pixels": pixels})["y"] == session.run({"pixels": pixels})["y"]).all()


def test_what_counts_no_samples_is_no_batch(tmp_path: Path) -> None:
    model = graph(
        [node("MatMul", ["a", "b"], ["y"])], [value("a", (2, 3)), value("b", (3, 4))],
        [value("y", (2, 4))],
    )  # fmt: skip
    made = bundle(tmp_path / "b", model)
    assert made.spec.fixed_batch is None
    session = open_session(made, "onnxruntime", "cpu").session
    assert not isinstance(session, FixedBatch)
    # boxes: a first axis that counts something else than the input's
    model = graph(
        [node("NonZero", ["x"], ["i"]), node("Transpose", ["i"], ["y"], perm=[1, 0])],
        [value("x", (1, 3))], [value("y", ("found", 2), "int64")],
    )  # fmt: skip
    session = open_session(bundle(tmp_path / "c", model), "onnxruntime", "cpu").session
    assert len(session.run({"x": np.ones((1, 3), np.float32)})["y"]) == 3
    with pytest.raises(BackendError, match=r"1 samples a call, and its output y .*\(3, 2\)"):
        session.run({"x": np.ones((2, 3), np.float32)})


@pytest.mark.parametrize("backend", CPU)
def test_mixed_outputs_scalars_unused_inputs_and_nothing(backend: str, tmp_path: Path) -> None:
    made = mixed(tmp_path / "b")
    session = open_session(made, backend, "cpu").session
    for count in (2, 1, 0, 2, 2, 2, 2, 2):  # often enough for OpenVINO's own model of a shape
        x = np.full((count, 3), 2, np.float32)
        feeds = {"unused": x * 9, "x": x, "by": np.array(1.5, np.float32)}
        found = session.run(feeds)
        assert list(found) == ["int64", "bool", "float16", "uint16", "most"]
        for name in list(found)[:-1]:
            assert found[name].dtype == np.dtype(name)
            assert found[name].shape == (count, 3)
            assert (found[name] == (1 if name == "bool" else 3)).all()
        assert found["most"].shape == ()
        assert count == 0 or found["most"] == 3


@pytest.mark.parametrize("backend", CPU)
def test_boxes_that_are_none(backend: str, tmp_path: Path) -> None:
    model = graph(
        [node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["kept"])],
        [value("boxes", (1, "n", 4)), value("scores", (1, 1, "n"))],
        [value("kept", ("k", 3), "int64")],
        {"most": np.array(5), "iou": rising(1)[0] + 1, "least": rising(1)[0] + 1.4},
    )
    session = open_session(bundle(tmp_path / "b", model), backend, "cpu").session
    boxes = np.array([[[0, 0, 1, 1], [0, 2, 1, 3], [0, 0, 1, 1]]], np.float32)
    for scores, kept in (([0.1, 0.2, 0.3], []), ([0.95, 0.99, 0.91], [[0, 0, 1], [0, 0, 0]])):
        feeds = {"boxes": boxes, "scores": np.array([[scores]], np.float32)}
        found = session.run(feeds)["kept"]
        assert found.shape == (len(kept), 3)
        assert found.dtype == np.int64
        assert found.tolist() == kept


def test_strings_and_types_that_numpy_lacks_are_refused(tmp_path: Path) -> None:
    for kind in ("bytes", "bfloat16"):
        model = graph(
            [node("Identity", ["text"], ["y"])],
            [value("text", ("n",), kind)],
            [value("y", ("n",), kind)],
        )
        made = bundle(tmp_path / kind, model)
        assert runnable(made) == []
        with pytest.raises(BackendError, match=rf"text {kind} \(n\) is no array of numbers"):
            open_session(made)
        found = examine([str(made.path)])
        assert not any(attempt.runs for attempt in found.attempts)
        assert any("no array of numbers" in str(attempt.reason) for attempt in found.attempts)


def test_doctor_says_what_runs(tmp_path: Path) -> None:
    made = [mixed(tmp_path / "mixed"), fixed(tmp_path / "fixed")]
    found = examine([str(one.path) for one in made])
    runs = {(one.bundle, one.backend) for one in found.attempts if one.runs}
    assert {(str(one.path), backend) for one in made for backend in CPU} <= runs
    assert not [one for one in found.problems if str(tmp_path) in one.about]


@pytest.mark.long
def test_bench_of_any_graph(tmp_path: Path) -> None:
    made = mixed(tmp_path / "mixed")
    arguments = ["bench", str(made.path), str(fixed(tmp_path / "fixed", 2).path)]
    arguments += [
        "--backend",
        "onnxruntime",
        "--batches",
        "1,4",
        "--seconds",
        "0.01",
        "--rounds",
        "1",
        "--device",
        "cpu",
    ]
    done = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "b.json")])
    assert done.exit_code == 0, done.output
    assert "failed" not in done.stdout
    model = graph(
        [node("MatMul", ["a", "b"], ["y"])], [value("a", ("k", "t")), value("b", ("t", "m"))],
        [value("y", ("k", "m"))],
    )  # fmt: skip
    two = bundle(tmp_path / "two", model)
    axes = {"t": 16, "m": 8}
    result = bench(
        [two], batches=[1, 2], backends=["onnxruntime"], axes=axes, device="cpu", seconds=0.01,
        rounds=1,
    )  # fmt: skip
    (about,) = result["bundles"]
    assert (about["inputs"], about["sample"]) == ({"a": [1, 16], "b": [16, 8]}, "call")
    assert about["multiply_adds"] == 16 * 8
    assert "--axis t=16 --axis m=8" in result["command"]
    done = CliRunner().invoke(app, ["bench", str(two.path), "--axis", "q=3"])
    assert "no bundle has a free axis called q" in str(done.exception)
    done = CliRunner().invoke(app, ["bench", str(two.path), "--axis", "t"])
    assert "--axis is 't', expected NAME=SIZE" in str(done.exception)


def test_samples_of_a_fixed_batch_are_counted(tmp_path: Path) -> None:
    made = fixed(tmp_path / "b", 3)
    settings = plan.Settings(bundles=(), backends=("onnxruntime",), device="cpu")
    ways, left_out = plan.ways({"b": made}, settings, False)
    assert ([way.batch for way in ways], left_out) == ([3], [])
    assert calls.feeds(made.spec, 5, plan.SCAN)["pixels"].shape == (5, 28, 28)
    assert (calls.samples(made.spec, 5), calls.unit(made.spec)) == (5, "image")
    assert TASKS.load("tensors").model.stacks is False
