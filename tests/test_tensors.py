"""Any graph: several inputs and outputs of mixed types, from files and from Python."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

import dlkit
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import BundleError, InputError
from dlkit.idx import write_idx
from dlkit.runtime.session import runnable
from dlkit.spec import ModelSpec, TensorSpec


def cli(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """sum = a @ w + b, with a float and an int64 input; mask = sum > 0, as uint8."""
    weight = np.arange(12, dtype=np.float32).reshape(4, 3) - 6
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["product"]),
        helper.make_node("Cast", ["b"], ["bias"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
        helper.make_node("Greater", ["sum", "zero"], ["above"]),
        helper.make_node("Cast", ["above"], ["mask"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("b", TensorProto.INT64, ["n", 3]),
        ],
        [
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 3]),
            helper.make_tensor_value_info("mask", TensorProto.UINT8, ["n", 3]),
        ],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [4, 3], weight.ravel()),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    spec = ModelSpec(
        name="mixed",
        task="tensors",
        precision="fp32",
        inputs=(TensorSpec("a", "float32", ("n", 4)), TensorSpec("b", "int64", ("n", 3))),
        outputs=(TensorSpec("sum", "float32", ("n", 3)), TensorSpec("mask", "uint8", ("n", 3))),
    )
    return Bundle.create(tmp_path / "mixed", model.SerializeToString(), spec, {})


def expected(a: Any, b: Any) -> dict[str, Any]:
    total = a @ (np.arange(12, dtype=np.float32).reshape(4, 3) - 6) + b
    return {"sum": total, "mask": (total > 0).astype(np.uint8)}


def test_every_backend_runs_it(bundle: Bundle) -> None:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((5, 4)).astype(np.float32), random.integers(-9, 9, (5, 3))
    ways = runnable(bundle)
    assert len(ways) >= 2
    for backend, device in ways:
        with dlkit.load(bundle, backend, device, task="tensors") as model:
            found = model.run({"a": a, "b": b})
        assert found.keys() == {"sum", "mask"}
        assert np.abs(found["sum"] - expected(a, b)["sum"]).max() < 0.2, backend
        assert (found["mask"] == expected(a, b)["mask"]).mean() > 0.9
        assert found["mask"].dtype == np.uint8


def test_a_folder_of_arrays(bundle: Bundle, tmp_path: Path) -> None:
    files = tmp_path / "in" / "sub"
    files.mkdir(parents=True)
    a, b = np.ones((2, 4), np.float32), np.zeros((2, 3), np.int64)
    np.savez(files / "good.npz", a=a, b=b)
    np.savez(files / "extra.npz", a=a, b=b, label=b)
    np.savez(files / "missing.npz", a=a)
    np.savez(files / "double.npz", a=a.astype(np.float64), b=b)
    np.savez(files / "uneven.npz", a=a[:1], b=b)
    (files / "cut.npz").write_bytes((files / "good.npz").read_bytes()[:100])
    np.save(files / "one.npy", a)
    out = tmp_path / "out"
    done = cli("run", bundle.path, tmp_path / "in", "--out", out)
    assert done.exit_code == 1, done.output
    assert "2 done, 5 failed" in done.output
    assert "has no array 'b'; it has a" in done.output
    assert "a is float64 (2, 4), expected a float32 (n, 4)" in done.output
    assert "b is int64 (2, 3), expected b int64 (n, 3); n is 1" in done.output
    assert "free first axis" not in done.output  # it has one
    with np.load(out / "sub" / "good.npz") as found:
        assert {name: found[name].tolist() for name in found.files} == {
            name: array.tolist() for name, array in expected(a, b).items()
        }
    assert "left out the array label of 1 files" in done.output
    again = cli("run", bundle.path, tmp_path / "in", "--out", out)
    assert "2 done before, 0 done, 5 failed" in again.output


def test_arrays_that_unpack_to_gigabytes(bundle: Bundle, tmp_path: Path) -> None:
    """By the sizes that the archive has, before anything is unpacked."""
    files = tmp_path / "in"
    files.mkdir()
    a, b = np.ones((2, 4), np.float32), np.zeros((2, 3), np.int64)
    np.savez_compressed(files / "good.npz", a=a, b=b)
    data = (files / "good.npz").read_bytes()
    for place in (data.rindex(b"PK\1\2") + 24, data.index(b"PK\1\2") + 24):  # unpacked sizes
        data = data[:place] + (3 << 28).to_bytes(4, "little") + data[place + 4 :]
    (files / "bomb.npz").write_bytes(data)
    done = cli("run", bundle.path, files, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert "1 done, 1 failed" in done.output
    assert "bomb.npz: its arrays unpack to 1.5 GiB, at most 1 are unpacked" in done.output


def test_nothing_of_an_array_file_is_passed_over(tmp_path: Path) -> None:
    """Arrays behind the first one of a .npy file, and two of one name."""
    files = tmp_path / "in"
    files.mkdir()
    pixels = np.zeros((3, 28, 28), np.uint8)
    with (files / "two.npy").open("wb") as file:
        np.save(file, pixels)
        np.save(file, pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of the name
        np.savez(files / "a.npz", pixels=pixels)
        with zipfile.ZipFile(files / "a.npz", "a") as archive:
            archive.writestr("pixels.npy", archive.read("pixels.npy"))
    write_idx(files / "b-images-ubyte", pixels)
    with (files / "b-images-ubyte").open("ab") as file:
        file.write(b"1")
    run = cli("run", "digits", files, "--out", tmp_path / "o", "--task", "tensors")
    assert "0 done, 2 failed" in run.output
    assert "two.npy: goes on behind its array uint8 (3, 28, 28)" in run.output
    assert "a.npz: has two arrays 'pixels'" in run.output
    read = cli("recognize", files, "--out", tmp_path / "p.csv")
    assert "two.npy: goes on behind its 3 images" in read.output
    assert "b-images-ubyte: goes on behind its 3 images" in read.output
    assert "3 failed" in read.output


def test_an_image_bundle_runs_on_arrays(tmp_path: Path) -> None:
    pixels = np.zeros((3, 28, 28), np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    done = cli("run", "digits", tmp_path / "x.npy", "--out", tmp_path / "o", "--task", "tensors")
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "o" / "x.npy.npz") as found:
        assert found["probabilities"].shape == (3, 10)
    with dlkit.load("digits", task="tensors") as model:
        assert model.run(pixels)["probabilities"].shape == (3, 10)
        with pytest.raises(InputError, match="expected pixels uint8"):
            model.run(pixels.astype(np.float32))
    with pytest.raises(BundleError, match="to recognize, not to denoise"):
        dlkit.load("digits", task="denoise")


def test_run_takes_images_too(digits_folder: Path, tmp_path: Path) -> None:
    done = cli("run", "digits", digits_folder, "--out", tmp_path / "answers")
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "answers").glob("*.json"))) == 60
