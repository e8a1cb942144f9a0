"""What the precision proof counts of a TensorRT network, for any graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from dlkit.bundle import Bundle
from dlkit.errors import ExportError
from dlkit.export.build_options import BuildOptions
from dlkit.export.engine import build_engine
from dlkit.export.proof.layers import prove
from dlkit.export.proof.network_layers import read_layers
from dlkit.export.trt_graph import parse
from dlkit.runtime.gpu.flavor import load_flavor

from .graphs import bundle, graph, node, rising, value

IN = value("x", ("n", 6, 16))
SUBGRAPH = helper.make_graph(
    [node("MatMul", ["state", "w"], ["p"]), node("Add", ["p", "step"], ["next"]),
     node("Identity", ["next"], ["seen"])],
    "body", [value("state", ("n", 16)), value("step", ("n", 16))],
    [value("next", ("n", 16)), value("seen", ("n", 16))],
)  # fmt: skip
TURN = helper.make_graph(
    [node("MatMul", ["state", "w"], ["next"]), node("Identity", ["on"], ["go"])], "turn",
    [value("i", (), "int64"), value("on", (), "bool"), value("state", ("n", 6, 16))],
    [value("go", (), "bool"), value("next", ("n", 6, 16))],
)  # fmt: skip
EIGHT: dict[str, NDArray[Any]] = {
    "s": np.array(0.02, np.float32),
    "z": np.array(0, np.int8),
    "w": np.arange(128).reshape(8, 16).astype(np.int8),
}


def lstm() -> onnx.ModelProto:
    """Two directions, hidden size 8, first axis the time."""
    return graph(
        [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=8, direction="bidirectional")],
        [value("x", (6, "n", 16))], [value("y", (6, 2, "n", 8))],
        {"w": rising(2, 32, 16), "r": rising(2, 32, 8)},
    )  # fmt: skip


COUNTED: dict[str, tuple[Callable[[], onnx.ModelProto], int]] = {
    "lstm": (lstm, 3 * 6 * 2 * 32 * (16 + 8)),
    "gru": (
        lambda: graph(
            [node("GRU", ["x", "w", "r"], ["y"], hidden_size=8)],
            [value("x", (6, "n", 16))],
            [value("y", (6, 1, "n", 8))],
            {"w": rising(1, 24, 16), "r": rising(1, 24, 8)},
        ),
        3 * 6 * 24 * (16 + 8),
    ),
    "einsum": (
        lambda: graph(
            [node("Einsum", ["x", "w"], ["y"], equation="nti,hio->nhto")],
            [IN],
            [value("y", ("n", 4, 6, 8))],
            {"w": rising(4, 16, 8)},
        ),
        3 * 6 * 16 * 4 * 8,
    ),
    "attention": (
        lambda: graph(
            [node("Attention", ["x", "v", "v"], ["y"], q_num_heads=2, kv_num_heads=2)],
            [IN, value("v", ("n", 6, 16))],
            [value("y", ("n", 6, 16))],
            opset=23,
        ),
        3 * 6 * 6 * (16 + 16),
    ),
    "groups": (
        lambda: graph(
            [
                node("Conv", ["x", "w"], ["c"], group=2),
                node("ConvTranspose", ["c", "t"], ["y"], group=2),
            ],
            [IN],
            [value("y", ("n", 6, 16))],
            {"w": rising(8, 3, 3), "t": rising(8, 3, 3)},
        ),
        3 * 14 * (8 * 3 * 3) + 3 * 14 * (8 * 3 * 3),
    ),
    "transposed": (
        lambda: graph(
            [node("Gemm", ["a", "w"], ["y"], transA=1, transB=1)],
            [value("a", (16, "n"))],
            [value("y", ("n", 8))],
            {"w": rising(8, 16)},
        ),
        4 * 16 * 8,
    ),
    "scan": (
        lambda: graph(
            [node("Scan", ["begin", "x"], ["end", "y"], body=SUBGRAPH, num_scan_inputs=1)],
            [value("begin", ("n", 16)), value("x", (6, "n", 16))],
            [value("end", ("n", 16)), value("y", (6, "n", 16))],
            {"w": rising(16, 16)},
        ),
        3 * 6 * 16 * 16,
    ),
    "loop": (
        lambda: graph(
            [node("Loop", ["turns", "on", "x"], ["y"], body=TURN)],
            [IN],
            [value("y", ("n", 6, 16))],
            {"w": rising(16, 16), "turns": np.array(5), "on": np.array(True)},
        ),
        3 * 6 * 16 * 16 * 5,
    ),
    "eight bits": (
        lambda: graph(
            [
                node("QuantizeLinear", ["x", "s", "z"], ["q"]),
                node("DequantizeLinear", ["q", "s", "z"], ["d"]),
                node("DequantizeLinear", ["w", "s", "z"], ["dw"]),
                node("Transpose", ["dw"], ["t"], perm=[1, 0]),
                node("MatMul", ["d", "t"], ["y"]),
            ],
            [IN],
            [value("y", ("n", 6, 8))],
            EIGHT,
        ),
        3 * 6 * 16 * 8,
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_multiply_adds_are_counted(name: str, tmp_path: Path) -> None:
    make, expected = COUNTED[name]
    batch = 4 if name == "transposed" else 3
    precision = "int8" if name == "eight bits" else "fp32"
    made = bundle(tmp_path / "b", make(), precision)
    options = BuildOptions(batch=(1, batch, 8), axes={"n": (1, batch, 8)})
    engine, _ = build_engine(made, options)
    assert engine.proof["multiply_adds"] == {precision: 1.0}
    assert engine.proof["unknown"] == []
    trt = load_flavor("tensorrt_rtx")
    network, _builder = parse(trt, made, engine.key.shapes)
    for index in range(network.num_inputs):
        network.get_input(index).shape = engine.key.shapes[network.get_input(index).name][1]
    layers, _ = read_layers(trt, network)
    assert sum(layer.multiply_adds for layer in layers) == expected
    eight = sum(layer.weights for layer in layers if layer.dtype == "int8")
    assert eight == (128 + 1 if name == "eight bits" else 0)  # the zero point is one too


def test_weights_count_as_well_as_arithmetic(tmp_path: Path) -> None:
    model = graph(
        [node("Gather", ["table", "ids"], ["e"], name="embed"),
         node("Cast", ["e"], ["h"], to=onnx.TensorProto.FLOAT16),
         node("MatMul", ["h", "w"], ["y"])],
        [value("ids", ("n",), "int64")], [value("y", ("n", 8), "float16")],
        {"table": rising(500, 16), "w": rising(16, 8, dtype="float16")},
    )  # fmt: skip
    made = bundle(tmp_path / "b", model, "fp16")
    with pytest.raises(ExportError, match=r"100.0% of the multiply-adds and 1.6% .*: table \(fp32"):
        build_engine(made)
    kept = Bundle.create(
        tmp_path / "c", made.onnx.read_bytes(), made.spec, {"kept_fp32": ["embed"]}
    )
    assert build_engine(kept)[0].proof["weights"]["fp32"] > 0.9


def test_shapes_that_the_data_decide_are_reported(tmp_path: Path) -> None:
    model = graph(
        [node("NonMaxSuppression", ["boxes", "scores", "most"], ["kept"]),
         node("Cast", ["kept"], ["k"], to=onnx.TensorProto.FLOAT),
         node("MatMul", ["k", "w"], ["y"], name="after")],
        [value("boxes", (1, 6, 4)), value("scores", (1, 1, 6))], [value("y", ("k", 7))],
        {"most": np.array(5), "w": rising(3, 7)},
    )  # fmt: skip
    trt = load_flavor("tensorrt_rtx")
    network, _builder = parse(trt, bundle(tmp_path / "b", model), {})
    found = prove(trt, network, "fp32")
    assert found.unknown == ("after",)
    assert found.multiply_adds == {"fp32": 1.0}
