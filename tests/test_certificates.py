"""Certificates that would say nothing, or less than the one that is there; files beside files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import dlkit
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import InputError, UsageError, VerifyError
from dlkit.runtime.session import runnable

from .foreign_graphs import FLOAT, node, value, weight
from .long import long


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def saved(
    path: str, nodes: list[Any], inputs: list[Any], outputs: list[Any],
    weights: dict[str, NDArray[Any]],
) -> str:  # fmt: skip
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    Path(path).write_bytes(model.SerializeToString())
    return path


def product(path: str, factor: float = 1.0, batch: int | str = "n") -> str:
    weights = {"w": weight(np.random.default_rng(0), 6, 4) * np.float32(factor)}
    ends = [value("x", FLOAT, [batch, 6])], [value("y", FLOAT, [batch, 4])]
    return saved(path, [node("MatMul", ["x", "w"], "y")], *ends, weights)


def finder(path: str, seed: int, limit: float) -> str:
    """Gives the scores above a limit."""
    nodes = [
        node("MatMul", ["x", "w"], "s"),
        node("Greater", ["s", "limit"], "over"),
        node("NonZero", ["over"], "places"),
        node("Transpose", ["places"], "rows", perm=[1, 0]),
        node("GatherND", ["s", "rows"], "y"),
    ]
    weights = {"w": weight(np.random.default_rng(seed), 6, 4), "limit": np.float32(limit)}
    ends = [value("x", FLOAT, ["n", 6])], [value("y", FLOAT, ["k"])]
    return saved(path, nodes, *ends, {name: np.asarray(one) for name, one in weights.items()})


def test_a_finder_that_finds_nothing(here: Path) -> None:
    finder("a.onnx", 1, limit=1e6)
    finder("b.onnx", 2, limit=1e6)
    half = dlkit.export("a.onnx", "fp16", out="half")
    for against in ("a.onnx", "b.onnx"):
        done = command("verify", "half", "--against", against, "--data", "random")
        assert done.exit_code == 1
        assert "finds nothing in random inputs" in str(done.exception)
    assert Bundle.open(half.path).certificate is None
    with pytest.raises(VerifyError, match="nothing to compare"):
        dlkit.verify("a.onnx", "b.onnx", "random")
    # some calls without a find are no fault
    finder("c.onnx", 1, limit=1.5)
    certified = dlkit.verify(dlkit.export("c.onnx", "fp16", out="some"), "c.onnx", "random")
    assert certified.measured[0].agreement > 0.99
    json.loads(Path("some/model.json").read_text(), parse_constant=pytest.fail)


def test_the_same_input_a_hundred_times(here: Path) -> None:
    product("net.onnx")
    half = dlkit.export("net.onnx", "fp16", out="half")
    random = np.random.default_rng(0)
    np.save("x.npy", np.repeat(random.standard_normal((50, 6), np.float32), 2, axis=0))
    with pytest.raises(UsageError, match="gives 50 different ones, 100 in all"):
        dlkit.verify(half, data="x.npy")
    assert Bundle.open(half.path).certificate is None
    np.save("x.npy", random.standard_normal((100, 6), np.float32))
    assert dlkit.verify(half, data="x.npy").inputs.count == 100
    assert dlkit.verify("net.onnx", product("b.onnx", factor=1.000001), np.ones((2, 6), np.float32))


def test_indices_are_few(here: Path) -> None:
    weights = {
        "t": weight(np.random.default_rng(0), 7, 8),
        "w": weight(np.random.default_rng(1), 8, 4),
    }
    nodes = [node("Gather", ["t", "i"], "rows"), node("MatMul", ["rows", "w"], "y")]
    saved(
        "net.onnx",
        nodes,
        [value("i", TensorProto.INT64, ["n"])],
        [value("y", FLOAT, ["n", 4])],
        weights,
    )
    half = dlkit.export("net.onnx", "fp16", out="half")
    np.save("i.npy", np.arange(100) % 7)
    assert dlkit.verify(half, data="i.npy").inputs.count == 100
    np.save("i.npy", np.arange(100) * 0)
    with pytest.raises(VerifyError, match="gives the same for every input"):
        dlkit.verify(half, data="i.npy")


def test_a_reference_that_gives_the_same_for_everything(here: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], "s"), node("Min", ["s", "low"], "y")]
    for name in "ab":
        weights = {
            "w": weight(np.random.default_rng(ord(name)), 6, 4),
            "low": np.array(-1e6, np.float32),
        }
        saved(
            f"{name}.onnx",
            nodes,
            [value("x", FLOAT, ["n", 6])],
            [value("y", FLOAT, ["n", 4])],
            weights,
        )
    full = dlkit.export("a.onnx", out="full")
    with pytest.raises(VerifyError, match=r"b.onnx gives the same for every input"):
        dlkit.verify(full, "b.onnx", "random")
    assert Bundle.open(full.path).certificate is None


def test_fixed_sizes_do_not_make_another_graph(here: Path) -> None:
    weights = {"w": weight(np.random.default_rng(0), 4, 3, 3, 3)}
    ends = [value("x", FLOAT, ["n", 3, "h", "w"])], [value("y", FLOAT, ["n", 4, "a", "b"])]
    saved("net.onnx", [node("Conv", ["x", "w"], "y")], *ends, weights)
    full = dlkit.export("net.onnx", out="full", example=(3, 8, 8))
    with pytest.raises(VerifyError, match=r"net.onnx, which it was made from, is the same graph"):
        dlkit.verify(full, data="random")
    assert Bundle.open(full.path).certificate is None


@pytest.mark.long
def test_fewer_backends_do_not_take_the_place_of_more(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product("net.onnx")
    half = dlkit.export("net.onnx", "fp16", out="half")

    def rows() -> list[str]:
        found = Bundle.open(half.path).certificate
        assert found is not None
        return [row.backend for row in found.measured]

    verify = "verify", "half", "--data", "random"
    assert command(*verify).exit_code == 0
    before = rows()
    assert "onnxruntime" in before
    few = [way for way in runnable(half) if way[0] != before[0]]
    monkeypatch.setattr(sys.modules["dlkit.export.proof.verify"], "runnable", lambda _: few)
    done = command(*verify)
    assert done.exit_code == 0
    assert f"(nothing of {before[0]})" in " ".join(done.output.split())
    assert rows() == before
    assert command(*verify, "--replace").exit_code == 0
    assert rows() == before[1:]
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert command(*verify).exit_code == 0
    assert rows() == before


def test_ends_are_paired_by_name_in_whatever_order(here: Path) -> None:
    weights = {"w": weight(np.random.default_rng(0), 8, 8)}
    nodes = [
        node("MatMul", ["q", "w"], "a"),
        node("Sub", ["a", "k"], "y"),
        node("Relu", ["y"], "z"),
    ]
    for name, inputs, outputs in (("a", "qk", "yz"), ("b", "kq", "zy"), ("c", "qk", "zy")):
        ends = ([value(one, FLOAT, ["n", 8]) for one in side] for side in (inputs, outputs))
        saved(f"{name}.onnx", nodes, *ends, weights)
    random = np.random.default_rng(1)
    np.savez("x.npz", **{one: random.standard_normal((9, 8), np.float32) for one in "qk"})
    half = dlkit.export("a.onnx", "fp16", out="half")
    for what, against in ((half, "b.onnx"), (half, "c.onnx")):
        assert all(row.within for row in dlkit.verify(what, against, "random").measured)
    renamed = saved(  # of the names that both have, the others by place
        "d.onnx",
        [
            node("MatMul", ["query", "w"], "a"),
            node("Sub", ["a", "k"], "y"),
            node("Relu", ["y"], "other"),
        ],
        [value("k", FLOAT, ["n", 8]), value("query", FLOAT, ["n", 8])],
        [value("other", FLOAT, ["n", 8]), value("y", FLOAT, ["n", 8])],
        weights,
    )
    assert all(row.within for row in dlkit.verify("a.onnx", renamed, "x.npz").measured)


def test_the_list_of_a_file_lies_in_the_working_directory(here: Path) -> None:
    random = np.random.default_rng(0)
    big, small = weight(random, 6, 8) * np.float32(6e4), weight(random, 8, 4) / np.float32(6e4)
    ends = [value("x", FLOAT, ["n", 6])], [value("y", FLOAT, ["n", 4])]
    layers = [node("MatMul", ["x", "big"], "a"), node("MatMul", ["a", "small"], "y")]
    saved("b.onnx", layers, *ends, {"big": big, "small": small})
    layers = [
        node("Cast", ["x"], "h", to=TensorProto.FLOAT16),
        node("MatMul", ["h", "big"], "a"),
        node("MatMul", ["a", "small"], "z"),
        node("Cast", ["z"], "y", to=FLOAT),
    ]
    half = {"big": big.astype(np.float16), "small": small.astype(np.float16)}
    Path("in").mkdir()
    saved("in/a.onnx", layers, *ends, half)
    np.save("x.npy", random.standard_normal((20, 6), np.float32))
    bisect = "verify", "in/a.onnx", "--against", "b.onnx", "--data", "x.npy", "--bisect"
    done = command(*bisect)
    assert done.exit_code == 0, done.output
    assert "--keep-fp32 a-keep-fp32.json" in done.output
    nodes = json.loads(Path("a-keep-fp32.json").read_text())["keep_fp32"]
    assert [one["node"] for one in nodes] == ["a_n", "y_n"]
    assert command(*bisect, "--out", "mine.json").exit_code == 0
    assert Path("mine.json").read_bytes() == Path("a-keep-fp32.json").read_bytes()


def test_a_fixed_batch_and_samples_that_are_no_multiple_of_it(here: Path) -> None:
    product("net.onnx", batch=4)
    random = np.random.default_rng(0)
    np.save("x.npy", random.standard_normal((102, 6), np.float32))
    np.save("few.npy", random.standard_normal((3, 6), np.float32))
    np.save("other.npy", random.standard_normal((102, 6), np.float32))
    half = dlkit.export("net.onnx", "fp16", data="few.npy")
    int8 = dlkit.export("net.onnx", "int8", data="other.npy")
    assert int8.origin["int8"]["calibration"]["count"] == 52
    assert int8.origin["int8"]["validation"]["count"] == 50
    for bundle in (half, int8):
        done = command("verify", bundle.path, "--data", "x.npy")
        assert done.exit_code == 0, done.output
        assert "102 of x.npy" in done.output
    with pytest.raises(InputError, match=r"expected x float32 \(samples, 6\)"):
        dlkit.verify(half, data=np.zeros((102, 5), np.float32))


@pytest.mark.parametrize("batch", ["n", long(4)])
def test_count_is_of_samples(here: Path, batch: int | str) -> None:
    product("net.onnx", batch=batch)
    half = dlkit.export("net.onnx", "fp16")
    given = np.random.default_rng(0).standard_normal((4, 51, 6), np.float32)
    Path("in").mkdir()
    for place, array in enumerate(given):
        np.save(f"in/{place}.npy", array)
    for data in ("in", [{"x": array} for array in given]):
        assert dlkit.verify(half, data=data, count=101).inputs.count == 101
    Path("in/3.npy").write_bytes(b"no array")  # read no further than needed
    done = command("verify", half.path, "--data", "in", "--count", 100)
    assert "100 of in" in done.output, done.output
