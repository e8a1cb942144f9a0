"""What an ONNX file computes and holds stays what it is: old opsets, probabilities, types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from typer.testing import CliRunner

import dlkit
from dlkit.cli import app
from dlkit.errors import ExportError, UsageError
from dlkit.export.proof.rounding import run_rounded
from dlkit.graph.read import read_graph

from .graphs import graph, node, rising, value

PIXELS = dlkit.Pixels()


def saved(model: onnx.ModelProto) -> str:
    Path("net.onnx").write_bytes(model.SerializeToString())
    return "net.onnx"


def weight(*shape: int) -> NDArray[np.float32]:
    random = np.random.default_rng(3)
    return (random.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32)


def answer(file: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    from dlkit.runtime.backends._onnx_session import onnx_session

    return np.asarray(onnx_session(Path(file), 1, optimise=False).run(None, dict(feeds))[0])


def pictures(count: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (count, *shape), dtype=np.uint8)


# --- a newer opset ---


def same_with_pixels(model: onnx.ModelProto) -> None:
    """What is put around images needs opset 13."""
    file = saved(model)
    raw = pictures(2, 8, 8, 3)
    floats = (raw / np.float32(255)).astype(np.float32).transpose(0, 3, 1, 2)
    bundle = dlkit.export(file, pixels=PIXELS)
    with dlkit.load(bundle, backend="onnxruntime") as net:
        got = net.run({"x": raw})["y"]
    assert got == pytest.approx(answer(file, {"x": floats}), abs=1e-5)


@pytest.mark.parametrize(
    ("operator", "mode", "scales"),
    [("Upsample", "linear", (2, 2)), ("Resize", "linear", (2, 2)), ("Resize", "linear", (0.7, 2)),
     ("Resize", "nearest", (1.3, 1.3)), ("Resize", "nearest", (0.4, 0.7))],
)  # fmt: skip
def test_old_files_resize_as_they_did(
    operator: str, mode: str, scales: tuple[float, float], here: Path
) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
             node(operator, ["c", "scales"], ["r"], mode=mode),
             node("Conv", ["r", "v"], ["y"])]  # fmt: skip
    weights = {"w": weight(4, 3, 3, 3), "scales": np.array([1, 1, *scales], np.float32)}
    weights["v"] = weight(4, 4, 1, 1)
    ends = [value("x", ("n", 3, 8, 8))], [value("y", ("n", 4, "h", "w"))]
    same_with_pixels(graph(nodes, *ends, weights, 9 if operator == "Upsample" else 10))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_old_files_choose_of_all_behind_an_axis(axis: int, here: Path) -> None:
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Hardmax", ["c"], ["y"], axis=axis)]
    ends = [value("x", ("n", 3, 8, 8))], [value("y", ("n", 4, 6, 6))]
    same_with_pixels(graph(nodes, *ends, {"w": weight(4, 3, 3, 3)}, 11))


def test_what_no_newer_opset_says_is_refused(here: Path) -> None:
    """The nearest pixel below along one axis, above along the other."""
    nodes = [node("Conv", ["x", "w"], ["c"]),
             node("Resize", ["c", "scales"], ["y"], mode="nearest")]  # fmt: skip
    weights = {"w": weight(4, 3, 3, 3), "scales": np.array([1, 1, 1.3, 0.7], np.float32)}
    file = saved(
        graph(nodes, [value("x", ("n", 3, 8, 8))], [value("y", ("n", 4, "h", "w"))], weights, 10)
    )
    with pytest.raises(ExportError, match="converter changes what it computes: y"):
        dlkit.export(file, "bf16")


# --- probabilities ---

LOGITS = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "w"], ["l"])]
SUM = [node("Exp", ["l"], ["e"]), node("ReduceSum", ["e", "one"], ["s"])]
TURNED = [node("Transpose", ["l"], ["t"], perm=[1, 0]), node("Softmax", ["t"], ["s"], axis=0)]
SECOND = [node("MatMul", ["f", "v"], ["m"]), node("Softmax", ["m"], ["q"], axis=1)]
SOFT = node("Softmax", ["l"], ["p"], axis=1)
ENDS = {
    "logits": ([node("Relu", ["l"], ["y"])], ["softmax"]),
    "by hand": ([*SUM, node("Div", ["e", "s"], ["y"])], []),
    "turned": ([*TURNED, node("Transpose", ["s"], ["y"], perm=[1, 0])], []),
    "limited": ([SOFT, node("Clip", ["p"], ["y"])], []),
    "a mean of two": ([SOFT, *SECOND, node("Mean", ["p", "q"], ["y"])], []),
    "per cent": ([SOFT, node("Mul", ["p", "hundred"], ["y"])], ["percent"]),
}


@pytest.mark.parametrize("kind", list(ENDS))
def test_probabilities_stay_what_they_are(kind: str, here: Path) -> None:
    nodes, ends = ENDS[kind]
    weights = {"w": 3 * weight(64, 3), "v": weight(64, 3), "one": np.array([1])}
    file = saved(
        graph(
            [*LOGITS, *nodes], [value("x", ("n", 1, 8, 8))], [value("y", ("n", 3))],
            weights | {"hundred": np.array(100, np.float32)},
        )
    )  # fmt: skip
    Path("labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    done = CliRunner().invoke(
        app, ["export", file, "--task", "recognize", "--labels", "labels.txt", "--colour", "grey"]
    )
    assert done.exit_code == 0, done.output
    said = ", ".join(ends) or "nothing, it gives probabilities"
    assert f"put behind the graph: {said}" in done.output
    raw = pictures(2, 8, 8)
    given = answer(file, {"x": (raw / np.float32(255)).astype(np.float32)[:, None]})
    if ends == ["softmax"]:
        given = np.exp(given) / np.exp(given).sum(1, keepdims=True)
    elif ends:
        given = given / 100
    with dlkit.load("net-bundle-fp32", backend="onnxruntime") as net:
        got = [one.probability for one in net.recognize(list(raw))]
    assert got == pytest.approx(given.max(1), abs=1e-5)


# --- types ---


@pytest.mark.parametrize("kind", [np.int16, np.uint16, ml_dtypes.float8_e4m3fn, np.int8])
def test_only_eight_bits_of_whole_numbers_are_int8(kind: Any, here: Path) -> None:
    nodes = [node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
             node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
             node("DequantizeLinear", ["w", "scale", "zero"], ["e"]),
             node("MatMul", ["d", "e"], ["y"])]  # fmt: skip
    weights = {"w": rising(8, 4).astype(kind), "zero": np.zeros((), kind), "scale": np.float32(0.1)}
    file = saved(graph(nodes, [value("x", ("n", 8))], [value("y", ("n", 4))], weights, 21))
    if kind is np.int8:
        assert dlkit.inspect(file).multiply_adds == {"int8": 1.0}
        assert dlkit.export(file).spec.precision == "int8"
        return
    assert dlkit.inspect(file).multiply_adds == {"other": 1.0}
    with pytest.raises(ExportError, match="other 100%"):
        dlkit.export(file)


# --- weights ---


def matmul(**more: Any) -> onnx.ModelProto:
    weights = {} if more else {"w": rising(6, 4)}
    made = graph([node("MatMul", ["x", "w"], ["y"])], [value("x", ("n", 6))],
                 [value("y", ("n", 4))], weights)  # fmt: skip
    for name, one in more.items():
        getattr(made.graph, name).append(one)
    return made


@pytest.mark.parametrize("places", [np.array([6, 16]), np.array([[1, 2], [4, 0]])])
def test_sparse_weights_are_weights(places: NDArray[np.int64], here: Path) -> None:
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([3, -2], np.float32), "w"),
        numpy_helper.from_array(places.astype(np.int64), "w_places"),
        [6, 4],
    )
    file = saved(matmul(sparse_initializer=sparse))
    assert dlkit.inspect(file).total == {"multiply_adds": 24, "operations": 48, "weights": 24}
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    bundle = dlkit.export(file)
    for backend in ("onnxruntime", "openvino"):
        with dlkit.load(bundle, backend=backend) as net:
            assert net.run(x)["y"] == pytest.approx(answer(file, {"x": x}), abs=1e-5)
    assert dlkit.export(file, "fp16").origin["share"]["weights"] == 1
    sparse.indices.raw_data = (places + 30).astype(np.int64).tobytes()
    saved(matmul(sparse_initializer=sparse))
    with pytest.raises(ExportError):
        dlkit.inspect(file)


def test_weights_beside_the_file_without_a_length(here: Path) -> None:
    model = matmul()
    tensor = model.graph.initializer[0]
    Path("w.bin").write_bytes(bytes(8) + tensor.raw_data + bytes(100))
    x = np.ones((2, 6), np.float32)
    wanted = answer(saved(model), {"x": x})
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    offset = tensor.external_data.add(key="offset", value="8")
    with dlkit.load(dlkit.export(saved(model)), backend="onnxruntime") as net:
        assert net.run(x)["y"] == pytest.approx(wanted)
    Path("w.bin").write_bytes(bytes(8 + 90))
    with pytest.raises(ExportError, match=r"98 bytes, the weight w ends at 104: it is cut"):
        dlkit.inspect("net.onnx")
    for slip in ("abc", "-8"):
        offset.value = slip
        with pytest.raises(ExportError, match="where the weight w lies is no place"):
            dlkit.inspect(saved(model))
    offset.value = "0"
    tensor.external_data.add(key="length", value="48")
    with pytest.raises(ExportError, match=r"w has 48 bytes, .* \[6, 4\] need 96"):
        dlkit.inspect(saved(model))


@pytest.mark.parametrize("more", [-8, 8])
def test_weights_of_another_size_than_their_shape(more: int, here: Path) -> None:
    model = matmul()
    tensor = model.graph.initializer[0]
    tensor.raw_data = (tensor.raw_data + bytes(8))[: 96 + more]
    with pytest.raises(ExportError, match=rf"w has {96 + more} bytes, .* \[6, 4\] need 96"):
        dlkit.export(saved(model))
    values = tensor.float_data
    tensor.ClearField("raw_data")
    values.extend([1.0] * (24 + more // 4))
    with pytest.raises(ExportError, match=r"has 26 values, .* need 24|float_data size .22. is too"):
        dlkit.inspect(saved(model))


# --- what keeps a divisor from 0 ---

NORM = [node("Abs", ["a"], ["l"])]
TINY = np.array(1e-12, np.float32)
GUARDS: dict[str, tuple[list[Any], dict[str, Any], int]] = {
    "a vector": ([node("Add", ["l", "e"], ["d"])], {"e": np.full(16, TINY)}, 18),
    "chosen": (
        [node("Greater", ["l", "e"], ["g"]), node("Where", ["g", "l", "e"], ["d"])],
        {"e": TINY}, 18,
    ),
    "an attribute": ([node("Clip", ["l"], ["d"], min=1e-12)], {}, 10),
    "only where it is 0": (
        [node("Equal", ["l", "z"], ["q"]), node("Cast", ["q"], ["c"], to=1),
         node("Mul", ["c", "e"], ["m"]), node("Add", ["l", "m"], ["d"])],
        {"e": TINY, "z": np.array(0, np.float32)}, 18,
    ),
    "its reciprocal": (
        [node("Max", ["l", "e"], ["x1"]), node("Reciprocal", ["x1"], ["r"]),
         node("Mul", ["a", "r"], ["b"])],
        {"e": np.array(1e-5, np.float32)}, 18,
    ),
    "float64": ([node("Add", ["l", "e"], ["d"])], {"e": np.full(16, 1e-300)}, 18),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(GUARDS))
def test_rows_of_zeros_stay_numbers(kind: str, here: Path) -> None:
    guard, weights, opset = GUARDS[kind]
    dtype = "float64" if kind == "float64" else "float32"
    nodes = [node("MatMul", ["x", "w"], ["a"]), *NORM, *guard]
    if guard[-1].output[0] == "d":
        nodes.append(node("Div", ["a", "d"], ["b"]))
    products = {"w": weight(40, 16).astype(dtype), "v": weight(16, 16).astype(dtype)}
    file = saved(
        graph(
            [*nodes, node("MatMul", ["b", "v"], ["y"])], [value("x", ("n", 40), dtype)],
            [value("y", ("n", 16), dtype)], products | weights, opset,
        )
    )  # fmt: skip
    x = np.zeros((2, 40), dtype)
    x[1] = np.linspace(-1, 1, 40)
    (got,) = run_rounded(read_graph(dlkit.export(file, "fp16").onnx), [{"x": x}])
    assert got["y"] == pytest.approx(answer(file, {"x": x}), abs=0.01)
    if kind == "float64":  # nothing here computes in it
        with dlkit.load(dlkit.export(file), backend="onnxruntime") as net:
            assert np.isfinite(net.run(x)["y"]).all()


# --- small things ---


def test_sizes_of_axes_that_are_not_there(here: Path) -> None:
    file = saved(matmul())
    assert dlkit.inspect(file, {"n": 5}).total["multiply_adds"] == 5 * 24
    for slip in ({"typo": 5}, {"n": 0}):
        with pytest.raises(UsageError, match="expected 1 or more of a free axis: n"):
            dlkit.inspect(file, slip)
    refused = CliRunner().invoke(app, ["inspect", file, "--size", "typo=5"])
    assert "the size of typo is 5" in str(refused.exception)


def test_axes_that_are_all_called_none(here: Path) -> None:
    ends = [value(name, ("None", "None", 4)) for name in "xy"]
    made = graph(
        [node("Add", ["x", "one"], ["y"])], ends[:1], ends[1:], {"one": np.ones(4, np.float32)}
    )
    bundle = dlkit.export(saved(made))
    assert bundle.spec.input.shape == ("x_0", "x_1", 4)
    with dlkit.load(bundle, backend="onnxruntime") as net:
        assert net.run(np.ones((2, 3, 4), np.float32))["y"].shape == (2, 3, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_graphs_without_products(dtype: str, here: Path) -> None:
    filled = numpy_helper.from_array(np.array([2], dtype))
    nodes = [node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["c"], value=filled),
             node("Mul", ["x", "c"], ["y"])]  # fmt: skip
    file = saved(graph(nodes, [value("x", ("n", 4), dtype)], [value("y", ("n", 4), dtype)]))
    x = np.arange(8, dtype=dtype).reshape(2, 4)
    for precision in ("fp32", "fp16"):
        bundle = dlkit.export(file, precision)
        assert bundle.spec.precision == precision
        with dlkit.load(bundle, backend="onnxruntime") as net:
            assert np.array_equal(net.run(x)["y"], 2 * x)
