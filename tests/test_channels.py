"""What half precision and eight bits lose of single channels, and weights that are no numbers."""

from __future__ import annotations

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
from dlkit.errors import ExportError, InputError, VerifyError

from .foreign_graphs import FLOAT, node, value

Arrays = dict[str, NDArray[Any]]
RANDOM = np.random.default_rng(3)


def normal(*shape: int) -> NDArray[np.float32]:
    return RANDOM.standard_normal(shape, np.float32)


def written(
    path: Path, nodes: list[Any], weights: Arrays, inputs: Any, outputs: Any, opset: int = 17
) -> Path:
    graph = helper.make_graph(
        nodes, "g", inputs, outputs,
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def image_net(path: Path, weights: Arrays, nodes: list[Any] | None = None, axes: int = 4) -> Path:
    """A convolution of 3 channels to 8, and what is behind it."""
    nodes = nodes or [node("Conv", ["x", "w"], "y", pads=[1] * 4)]
    x, y = value("x", FLOAT, ["n", 3, 8, 8]), value("y", FLOAT, [*"abcd"[:axes]])
    return written(path, nodes, weights, [x], [y])


def classifier(path: Path, scale: float) -> Path:
    """100 classes; the first feature has small weights, as it has large values."""
    random = np.random.default_rng(0)
    first = random.standard_normal((64, 32)).astype(np.float32) * 0.3
    first[:, 0] /= scale
    nodes = [
        node("Gemm", ["x", "a"], "h", transB=1),
        node("Relu", ["h"], "r"),
        node("Gemm", ["r", "b"], "l", transB=1),
        node("Softmax", ["l"], "p", axis=1),
    ]
    weights = {"a": first, "b": random.standard_normal((100, 64)).astype(np.float32) * 0.5}
    return written(path, nodes, weights, [value("x", FLOAT, ["n", 32])],
                   [value("p", FLOAT, ["n", 100])])  # fmt: skip


def features(path: Path, scale: float) -> Path:
    found = normal(240, 32)
    found[:, 0] *= scale
    np.savez(path, x=found)
    return path


def detector(path: Path, sign: float) -> Path:
    """Boxes in pixels and scores of 0 to 1 in one output."""
    random = np.random.default_rng(0)
    w, boxes, scores = (
        random.standard_normal(shape).astype(np.float32) * 0.3
        for shape in ((16, 3, 3, 3), (4, 16, 1, 1), (20, 16, 1, 1))
    )
    nodes = [
        node("Conv", ["x", "w"], "c", pads=[1] * 4),
        node("Relu", ["c"], "r"),
        node("Conv", ["r", "wb"], "b0"),
        node("Sigmoid", ["b0"], "b1"),
        node("Mul", ["b1", "k"], "b2"),
        node("Conv", ["r", "ws"], "s0"),
        node("Sigmoid", ["s0"], "s1"),
        node("Concat", ["b2", "s1"], "y", axis=1),
    ]
    return image_net(path, {"w": w, "wb": boxes, "ws": scores * sign, "k": np.float32(640)}, nodes)


@pytest.mark.long
def test_scores_beside_boxes(tmp_path: Path) -> None:
    right, wrong = detector(tmp_path / "a.onnx", 1), detector(tmp_path / "b.onnx", -1)
    for name in ("x", "seen"):
        np.savez(tmp_path / f"{name}.npz", x=normal(100, 3, 8, 8))
    for precision in ("fp16", "int8"):
        data = tmp_path / "seen.npz" if precision == "int8" else None
        good = dlkit.export(right, precision, tmp_path / f"g-{precision}", data=data and str(data))
        dlkit.verify(good, right, tmp_path / "x.npz")
        bad = dlkit.export(wrong, precision, tmp_path / f"b-{precision}", data=data and str(data))
        with pytest.raises(VerifyError, match=r"the error of y\[:, \d+, :, :\] is \d\d\d% of what"):
            dlkit.verify(bad, right, tmp_path / "x.npz")


@pytest.mark.long
def test_a_classifier_of_many_classes_in_eight_bits(tmp_path: Path) -> None:
    harmless = classifier(tmp_path / "a.onnx", 1)
    made = dlkit.export(harmless, "int8", tmp_path / "a", data=str(features(tmp_path / "a.npz", 1)))
    assert made.origin["int8"]["left_fp32"] == []
    dlkit.verify(made, harmless, features(tmp_path / "b.npz", 1))
    lost = classifier(tmp_path / "b.onnx", 1e4)  # nothing is left of the other features
    data = features(tmp_path / "c.npz", 1e4)
    done = CliRunner().invoke(
        app, ["export", str(lost), "--precision", "int8", "--data", str(data),
              "--out", str(tmp_path / "b")])  # fmt: skip
    assert done.exit_code == 0, done.output
    left = Bundle.open(tmp_path / "b").origin["int8"]["left_fp32"]
    assert len(left) == 1  # the layer that takes it, and this is said
    assert left[0] in done.output
    assert "fp32: \n" not in done.output
    dlkit.verify(tmp_path / "b", lost, features(tmp_path / "d.npz", 1e4))


def test_channels_that_float16_would_lose(tmp_path: Path) -> None:
    weights = {"w": normal(8, 3, 3, 3), "s": np.ones((1, 8, 1, 1), np.float32)}
    nodes = [node("Conv", ["x", "w"], "c", pads=[1] * 4), node("Mul", ["c", "s"], "y")]
    weights["w"][4:] *= 1e-8
    weights["s"][:, 4:] = 1e8
    source = image_net(tmp_path / "a.onnx", weights, nodes)
    made = dlkit.export(source, "fp16", tmp_path / "a")
    assert made.origin["share"]["multiply_adds"] == 1
    found = dlkit.verify(made, source, "random")
    assert max(row.channel_error for row in found.measured) < 0.01
    weights["s"][:] = 1  # they have died: nothing is to be done for them
    source = image_net(tmp_path / "b.onnx", weights, nodes)
    made = dlkit.export(source, "fp16", tmp_path / "b")
    assert b"_back" not in made.onnx.read_bytes()
    dlkit.verify(made, source, "random")
    weights = {"w": normal(8, 3, 3, 3)}
    weights["w"][:, 0] *= 1e-8  # of an input that nobody knows
    source = image_net(tmp_path / "c.onnx", weights)
    with pytest.raises(ExportError, match="for channel 0 of the input, which float16 does not"):
        dlkit.export(source, "fp16", tmp_path / "c")
    np.savez(tmp_path / "x.npz", x=normal(4, 3, 8, 8))
    dlkit.export(source, "fp16", tmp_path / "c", data=str(tmp_path / "x.npz"))


def test_masks_of_float64(tmp_path: Path) -> None:
    def masked(name: str, large: float) -> Path:
        nodes = [
            node("Sub", ["one", "m"], "i"),
            node("Mul", ["i", "large"], "bias"),
            node("Cast", ["x"], "xd", to=TensorProto.DOUBLE),
            node("MatMul", ["xd", "w"], "l"),
            node("Add", ["l", "bias"], "b"),
            node("Softmax", ["b"], "y", axis=-1),
        ]
        weights = {"one": np.float64(1), "large": np.float64(large), "w": np.eye(8) * 2}
        inputs = [value("x", FLOAT, ["n", 8]), value("m", TensorProto.DOUBLE, ["n", 8])]
        return written(tmp_path / name, nodes, weights, inputs,
                       [value("y", TensorProto.DOUBLE, ["n", 8])])  # fmt: skip

    mask = (RANDOM.random((100, 8)) > 0.3).astype(np.float64)
    mask[:, 0] = 1
    np.savez(tmp_path / "x.npz", x=normal(100, 8), m=mask)
    source = masked("a.onnx", np.finfo(np.float64).min)
    made = dlkit.export(source, "fp16", tmp_path / "a", data=str(tmp_path / "x.npz"))
    dlkit.verify(made, source, tmp_path / "x.npz")
    with pytest.raises(ExportError, match=r"large holds 1e\+300 in float64, float32 ends at"):
        dlkit.export(masked("b.onnx", 1e300), "fp16", tmp_path / "b")


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    weights = {"w": normal(8, 3, 3, 3)}
    weights["w"][1, 2] = np.nan
    source = image_net(tmp_path / "a.onnx", weights)
    for precision in ("fp32", "fp16"):
        with pytest.raises(ExportError, match="w holds NaN"):
            dlkit.export(source, precision, tmp_path / "a")
    shown = CliRunner().invoke(app, ["inspect", str(source)])
    assert "1 weights hold values that are NaN: w" in shown.output


@pytest.mark.parametrize("broken", [np.nan, 1e42])
def test_weights_of_a_module_that_are_no_numbers(tmp_path: Path, broken: float) -> None:
    import torch

    (tmp_path / "net.py").write_text("from torch import nn\nbuild = lambda: nn.Linear(4, 3)\n")
    state = torch.nn.Linear(4, 3).double().state_dict()
    state["bias"][1] = broken
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(ExportError, match=r"bias holds (NaN|values beyond)"):
        dlkit.export(f"{tmp_path}/net.py:build", weights=tmp_path / "w.pt", example=(4,),
                     out=tmp_path / "a")  # fmt: skip


def test_what_eight_bits_cannot_take(tmp_path: Path) -> None:
    weights = {"w": normal(8, 3, 3, 3)}
    plain = [node("Conv", ["x", "w"], "y", pads=[1] * 4)]
    source = image_net(tmp_path / "a.onnx", weights)
    for name, array, expected in (
        ("one", normal(1, 3, 8, 8), "has one sample, int8 needs 2 or more"),
        ("none", normal(0, 3, 8, 8), "has no sample"),
        ("same", np.zeros((40, 3, 8, 8), np.float32), "every value of x is 0"),
        ("nan", np.full((40, 3, 8, 8), np.nan, np.float32), "is infinite or NaN"),
    ):
        np.savez(tmp_path / f"{name}.npz", x=array)
        with pytest.raises(dlkit.DlkitError, match=expected):
            dlkit.export(source, "int8", tmp_path / "o", data=str(tmp_path / f"{name}.npz"))
    with pytest.raises(InputError, match="there is no file or folder"):
        dlkit.export(source, "int8", tmp_path / "o", data=str(tmp_path / "nosuch.npz"))
    dlkit.export(source, "fp16", tmp_path / "one", data=str(tmp_path / "one.npz"))
    infinite = {"w": weights["w"].copy()}
    infinite["w"][0, 0] = np.inf
    counted = [
        node("Conv", ["x", "w"], "c", pads=[1] * 4),
        node("Greater", ["c", "t"], "g"),
        node("NonZero", ["g"], "y0"),
        node("Cast", ["y0"], "y", to=FLOAT),
    ]
    for held, nodes, expected in (
        (infinite, plain, "no convolution or matrix product to quantise"),
        ({}, [node("Einsum", ["x", "x"], "y", equation="nchw,nchw->nc")], "not those inside If"),
        (weights | {"t": np.float32(0.8)}, counted, "int8 loses too much"),
    ):
        source = image_net(tmp_path / "b.onnx", held, nodes, 4 if nodes is plain else 2)
        with pytest.raises(ExportError, match=expected):
            dlkit.export(source, "int8", tmp_path / "o", data="random")


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_sequences_inside(tmp_path: Path, precision: str) -> None:
    nodes = [
        node("Conv", ["x", "w"], "c", pads=[1] * 4),
        node("SplitToSequence", ["c", "s"], "q", axis=1),
        node("ConcatFromSequence", ["q"], "z", axis=1),
        node("Conv", ["z", "v"], "y"),
    ]
    weights = {"w": normal(8, 3, 3, 3), "s": np.array(4), "v": normal(4, 8, 1, 1)}
    source = image_net(tmp_path / "a.onnx", weights, nodes)
    data = "random" if precision == "int8" else None
    made = dlkit.export(source, precision, tmp_path / "a", data=data)
    dlkit.verify(made, source, "random")
