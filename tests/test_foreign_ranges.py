"""What half precision cannot hold is seen on inputs, wherever in an ONNX file it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx import helper
from typer.testing import CliRunner

import dlkit
from dlkit.cli import app
from dlkit.errors import ExportError
from dlkit.export.proof.rounding import run_rounded
from dlkit.export.run_graph import run_graph
from dlkit.graph.read import read_graph
from dlkit.graph.tidy import every_node

from .graphs import graph, node, rising, value


def saved(model: onnx.ModelProto) -> str:
    Path("net.onnx").write_bytes(model.SerializeToString())
    return "net.onnx"


def loud(given: str, taken: str, other: str = "") -> list[onnx.NodeProto]:
    """ln(1 + 2^20 |x|), as audio networks have it: float16 ends before."""
    names = [f"{other}{one}" for one in ("large", "more", "log", "back")]
    return [
        node("Abs", [given], [f"{names[0]}_abs"], name=f"{names[0]}_abs_n"),
        node("Mul", [f"{names[0]}_abs", "factor"], [names[0]], name=f"{names[0]}_n"),
        node("Add", [names[0], "one"], [names[1]], name=f"{names[1]}_n"),
        node("Log", [names[1]], [names[2]], name=f"{names[2]}_n"),
        node("Mul", [names[2], "small"], [taken], name=f"{names[3]}_n"),
    ]  # fmt: skip


def both(given: str) -> dict[str, onnx.GraphProto]:
    """Branches that are loud alike, each with tensors of its own."""
    return {
        f"{name}_branch": helper.make_graph(
            loud(given, f"{name}_out", name), name, [], [value(f"{name}_out", ("n", 8))]
        )
        for name in ("then", "else")
    }


def branches() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """The rate decides; another branch for each."""
    return [node("Equal", ["rate", "known"], ["choice"]),
            node("If", ["choice"], ["q"], **both("p"))], {"known": np.array(16000)}  # fmt: skip


def turns() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """As often as the rate's remainder by 3 says, and once."""
    body = helper.make_graph(
        [*loud("state", "next"), node("Identity", ["on"], ["on_out"])], "body",
        [value("i", (), "int64"), value("on", (), "bool"), value("state", ("n", 8))],
        [value("on_out", (), "bool"), value("next", ("n", 8))],
    )  # fmt: skip
    weights = {"three": np.array(3), "first": np.array(1), "yes": np.array(True)}
    return [node("Mod", ["rate", "three"], ["rest"]), node("Add", ["rest", "first"], ["count"]),
            node("Loop", ["count", "yes", "p"], ["q"], body=body)], weights  # fmt: skip


def nested() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """A branch inside a turn."""
    body = helper.make_graph(
        [node("Equal", ["i", "known"], ["choice"]),
         node("If", ["choice"], ["next"], **both("state")),
         node("Identity", ["on"], ["on_out"])],
        "body",
        [value("i", (), "int64"), value("on", (), "bool"), value("state", ("n", 8))],
        [value("on_out", (), "bool"), value("next", ("n", 8))],
    )  # fmt: skip
    weights = {"two": np.array(2), "yes": np.array(True), "known": np.array(1)}
    return [node("Loop", ["two", "yes", "p"], ["q"], body=body)], weights


def guarded() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """Beside ``branches``, one whose answer the shape decides: the other one cannot be run."""
    one, three = (
        helper.make_graph([node("Reshape", ["p", size], [f"{size}_out"])], size, [],
                          [value(f"{size}_out", ("a", 8))])
        for size in ("one_row", "three_rows")
    )  # fmt: skip
    nodes, weights = branches()
    nodes[-1].output[0] = "q1"
    guard = [node("Shape", ["p"], ["shape"]), node("Gather", ["shape", "at"], ["rows"]),
             node("Equal", ["rows", "single"], ["is_one"]),
             node("If", ["is_one"], ["p2"], then_branch=one, else_branch=three),
             node("Mul", ["p2", "no"], ["none"])]  # fmt: skip
    weights |= {"one_row": np.array([1, 8]), "three_rows": np.array([3, 8]), "at": np.array(0),
                "single": np.array(1), "no": np.array(0, np.float32)}  # fmt: skip
    return [*guard, *nodes, node("Add", ["q1", "none"], ["q"])], weights


def within() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """A branch in a branch: reached by one answer and the other."""
    inner = {
        "then_branch": helper.make_graph(
            [node("Neg", ["p"], ["quiet"])], "quiet", [], [value("quiet", ("n", 8))]
        ),
        "else_branch": helper.make_graph(loud("p", "loud"), "loud", [], [value("loud", ("n", 8))]),
    }
    outer = helper.make_graph(
        [node("If", ["small_rate"], ["chosen"], **inner)], "outer", [], [value("chosen", ("n", 8))]
    )
    other = helper.make_graph([node("Abs", ["p"], ["abs"])], "o", [], [value("abs", ("n", 8))])
    return [node("Less", ["rate", "known"], ["small_rate"]),
            node("Equal", ["rate", "known"], ["choice"]),
            node("If", ["choice"], ["q"], then_branch=outer, else_branch=other),
            ], {"known": np.array(16000)}  # fmt: skip


def endless() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """while True: ...; if True: break"""
    sides = {
        f"{name}_branch": helper.make_graph(
            [node("Identity", [taken], [f"{name}_on"])], name, [], [value(f"{name}_on", (), "bool")]
        )
        for name, taken in (("then", "never"), ("else", "yes"))
    }
    body = helper.make_graph(
        [*loud("state", "next"), node("Identity", ["yes"], ["stop"]),
         node("If", ["stop"], ["on_out"], **sides)], "body",
        [value("i", (), "int64"), value("on", (), "bool"), value("state", ("n", 8))],
        [value("on_out", (), "bool"), value("next", ("n", 8))],
    )  # fmt: skip
    weights = {"most": np.array(2**63 - 1), "yes": np.array(True), "never": np.array(False)}
    return [node("Loop", ["most", "yes", "p"], ["q"], body=body)], weights


def growing() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """A state that has more rows after each turn, as a decoder's cache."""
    body = helper.make_graph(
        [*loud("state", "new"), node("Concat", ["state", "new"], ["next"], axis=0),
         node("Identity", ["on"], ["on_out"])], "body",
        [value("i", (), "int64"), value("on", (), "bool"), value("state", ("k", 8))],
        [value("on_out", (), "bool"), value("next", ("m", 8))],
    )  # fmt: skip
    weights = {"two": np.array(2), "yes": np.array(True)}
    return [node("Loop", ["two", "yes", "p"], ["q"], body=body)], weights


def scanned() -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """Row by row, and out on the second axis."""
    body = helper.make_graph(
        loud("row", "given"), "body", [value("row", (8,))], [value("given", (8,))]
    )
    numbers = {"scan_output_axes": [0], "num_scan_inputs": 1}
    return [node("Scan", ["p"], ["q"], body=body, **numbers)], {}


@pytest.mark.parametrize(
    "kind", ["branches", "turns", "nested", "guarded", "within", "endless", "growing", "scanned"]
)
def test_inside_of_branches_and_bodies(kind: str, here: Path) -> None:
    """Also of the branch that random inputs do not take."""
    nodes, weights = globals()[kind]()
    weights |= {"w": rising(6, 8), "v": rising(8, 4), "factor": np.array(2.0**20, np.float32),
                "one": np.array(1, np.float32), "small": np.array(0.1, np.float32)}  # fmt: skip
    inputs = [value("x", ("n", 6)), value("rate", (), "int64")]
    rated = kind in ("branches", "turns", "guarded", "within")
    used = inputs if rated else inputs[:1]
    model = graph(
        [node("MatMul", ["x", "w"], ["p"]), *nodes, node("MatMul", ["q", "v"], ["y"])],
        used, [value("y", ("n", 4))], weights, 16,
    )  # fmt: skip
    bundle = dlkit.export(saved(model), "fp16")
    assert bundle.origin["share"] == {"multiply_adds": 1.0, "weights": 1.0}
    named = [one.name for one in every_node(ir.load(bundle.onnx))]
    assert len(set(named)) == len(named)
    x = np.linspace(-1, 1, 18, dtype=np.float32).reshape(3, 6)
    for rate in (8000, 16000):
        feeds = {"x": x, "rate": np.array(rate)} if len(used) == 2 else {"x": x}
        (wanted,) = run_graph(Path("net.onnx"), [feeds])
        (got,) = run_rounded(read_graph(bundle.onnx), [feeds])
        assert got["y"] == pytest.approx(wanted["y"], rel=0.01, abs=0.01)


def test_ranges_that_nobody_saw_are_said(here: Path) -> None:
    """past + now = total, which random inputs do not know."""
    nodes = [node("Concat", ["past", "now"], ["all"], axis=1),
             node("MatMul", ["mask", "all"], ["m"]), node("MatMul", ["m", "w"], ["y"])]  # fmt: skip
    ends = [value("past", (1, "p", 8)), value("now", (1, "q", 8)), value("mask", (1, 4, "total"))]
    file = saved(graph(nodes, ends, [value("y", (1, 4, 4))], {"w": rising(8, 4)}))
    sizes = {"past": (1, 3, 8), "now": (1, 2, 8), "mask": (1, 4, 5)}
    np.savez("x.npz", **{name: np.ones(size, np.float32) for name, size in sizes.items()})
    command = ["export", file, "--precision", "fp16"]
    done = CliRunner().invoke(app, command)
    assert (done.exit_code, "ranges were looked at of weights alone" in done.output) == (0, True)
    assert "past [1, 96, 8]" in dlkit.Bundle.open("net-bundle-fp16").origin["ranges"]
    done = CliRunner().invoke(app, [*command, "--data", "x.npz"])
    assert (done.exit_code, "ranges were" in done.output) == (0, False), done.output
    assert "ranges" not in dlkit.Bundle.open("net-bundle-fp16").origin


def test_inputs_are_as_long_as_the_graph_wants(here: Path, capfd: Any) -> None:
    """Sound that is padded by its own mirror image, which shapes do not tell to be too short."""
    nodes = [node("Pad", ["x", "more"], ["p"], mode="reflect"), node("Mul", ["p", "p"], ["power"]),
             node("MatMul", ["w", "power"], ["y"])]  # fmt: skip
    weights = {"more": np.array([0, 200, 0, 200]), "w": rising(3, 1)}
    file = saved(graph(nodes, [value("x", (1, "n"))], [value("y", (3, "m"))], weights))
    bundle = dlkit.export(file, "fp16")
    assert "ranges" not in bundle.origin
    assert not any(capfd.readouterr())  # what was tried is not told


def test_states_have_as_many_samples_as_the_input(here: Path) -> None:
    nodes = [node("Unsqueeze", ["x", "first"], ["steps"]),
             node("RNN", ["steps", "w", "r", "", "", "h"], ["", "y"], hidden_size=8)]  # fmt: skip
    weights = {"first": np.array([0]), "w": rising(1, 8, 6), "r": rising(1, 8, 8)}
    inputs = [value("x", ("n", 6)), value("h", (1, "many", 8))]
    file = saved(graph(nodes, inputs, [value("y", (1, "many", 8))], weights))
    assert "ranges" not in dlkit.export(file, "fp16").origin


def test_fourier_transforms_count(here: Path) -> None:
    """A log-mel spectrogram: the transform stays float32, and is no small part of it."""
    window, bins, mels = 256, 129, 8  # without ``onesided``, which is 1 then
    nodes = [node("STFT", ["x", "hop", "window"], ["s"], name="transform"),
             node("ReduceSumSquare", ["s"], ["p"], axes=[-1], keepdims=0),
             node("MatMul", ["p", "w"], ["y"])]  # fmt: skip
    weights = {"hop": np.array(128), "window": np.hanning(window).astype(np.float32),
               "w": rising(bins, mels)}  # fmt: skip
    file = saved(graph(nodes, [value("x", (1, "n"))], [value("y", (1, "m", mels))], weights, 17))
    for samples in (16000, 160_000):  # more frames than bins, too
        frames = (samples - window) // 128 + 1
        products = dlkit.inspect(file, {"n": samples}).total["multiply_adds"]
        assert products == frames * bins * (2 * 8 + mels)  # 2 log2(256) for each number it gives
    with pytest.raises(ExportError, match=r"only 33.3% of .*: STFT transform \(fp32\)"):
        dlkit.export(file, "fp16")
    bundle = dlkit.export(file, "fp16", keep=["transform"])
    engine = dlkit.build_engine(bundle, axes={"n": (16000, 16000, 16000)})
    assert engine.proof["multiply_adds"]["fp16"] < 0.1  # TensorRT makes convolutions of it


@pytest.mark.parametrize("opset", [17, 20])
def test_transforms_count_along_their_axis(opset: int, here: Path) -> None:
    along = {"axis": 2} if opset < 20 else {}
    inputs = ["x"] if opset < 20 else ["x", "", "two"]
    model = graph(
        [node("DFT", inputs, ["y"], **along)], [value("x", (1, 4096, 64, 2))],
        [value("y", (1, 4096, 64, 2))], {} if opset < 20 else {"two": np.array(2)}, opset,
    )  # fmt: skip
    assert dlkit.inspect(saved(model)).total["multiply_adds"] == 4096 * 64 * 2 * 6


def test_small_numbers_that_are_added_are_no_guards(here: Path) -> None:
    """A learned shift of 2.65e-6: nothing is divided by the sum (else: test_foreign_meaning)."""
    nodes = [node("MatMul", ["x", "w"], ["p"]), node("Add", ["p", "shift"], ["s"]),
             node("MatMul", ["s", "v"], ["y"])]  # fmt: skip
    weights = {"w": rising(6, 8), "v": rising(8, 4), "shift": np.array([2.65e-6], np.float32)}
    ends = [value("x", ("n", 6))], [value("y", ("n", 4))]
    assert not dlkit.export(saved(graph(nodes, *ends, weights)), "fp16").origin["left_fp32"]


def test_branches_that_nobody_saw_are_said(here: Path) -> None:
    """A branch that cannot be run: its product does not fit what random inputs are."""
    nodes, weights = branches()
    sides = {one.name: one.g for one in nodes[-1].attribute}
    sides["then_branch"].node.insert(0, node("MatMul", ["p", "odd"], ["misfit"], name="misfit_n"))
    sides["then_branch"].node.append(node("Reshape", ["misfit", "tight"], ["unused"]))
    sides["then_branch"].output.append(value("unused", (7,)))
    sides["else_branch"].node.append(node("Reshape", ["seven", "tight"], ["also"]))
    sides["else_branch"].output.append(value("also", (7,)))
    nodes[-1].output.append("z")
    weights |= {"w": rising(6, 8), "v": rising(8, 4), "factor": np.array(2.0, np.float32),
                "one": np.array(1, np.float32), "small": np.array(0.1, np.float32),
                "odd": rising(8, 3), "seven": rising(7), "tight": np.array([7])}  # fmt: skip
    inputs = [value("x", ("n", 6)), value("rate", (), "int64")]
    model = graph(
        [node("MatMul", ["x", "w"], ["p"]), *nodes, node("MatMul", ["q", "v"], ["y"])],
        inputs, [value("y", ("n", 4)), value("z", (7,))], weights, 16,
    )  # fmt: skip
    bundle = dlkit.export(saved(model), "fp16")
    assert bundle.origin["ranges"].startswith("of all but misfit_n, thenlarge")
