"""Engines of any graph: profiles by input, and what TensorRT refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine
from dlkit.errors import ExportError, UsageError
from dlkit.export.build_options import BuildOptions, read_axes
from dlkit.export.engine import build_engine
from dlkit.export.squeeze import with_axes
from dlkit.graph.tidy import every_node

from .graphs import bundle, graph, node, rising, value


def reader(path: Path, length: int | str = "length") -> Bundle:
    """Token numbers, a mask and a scale; two outputs of other types."""
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("Unsqueeze", ["mask", "last"], ["m"]),
        node("Mul", ["e", "m"], ["em"]),
        node("MatMul", ["em", "w"], ["p"], name="project"),
        node("Mul", ["p", "scale"], ["y"]),
        node("Greater", ["y", "zero"], ["positive"]),
    ]
    model = graph(
        nodes,
        [value("ids", ("n", length), "int64"), value("mask", ("n", length)), value("scale", ())],
        [value("y", ("n", length, 8)), value("positive", ("n", length, 8), "bool")],
        {"table": rising(50, 16), "w": rising(16, 8), "last": np.array([-1]), "zero": rising(1)[0]},
    )
    return bundle(path, model)


def test_each_input_has_its_own_profile(tmp_path: Path) -> None:
    made = reader(tmp_path / "b")
    options = BuildOptions(batch=(1, 2, 4), axes=read_axes(["length=1:16:64"]))
    engine, built = build_engine(made, options)
    assert built
    assert engine.key.shapes == {
        "ids": ((1, 1), (2, 16), (4, 64)),
        "mask": ((1, 1), (2, 16), (4, 64)),
        "scale": ((), (), ()),
    }
    assert engine.proof["shapes"] == {"ids": [2, 16], "mask": [2, 16], "scale": []}
    assert Engine.open(engine.path, made) == engine
    assert build_engine(made, options) == (engine, False)
    others = [
        replace(options, axes={"length": (1, 16, 65)}),
        replace(options, axes={"length": (16, 16, 16), "n": (1, 2, 4)}),
        replace(options, batch=None, axes={"length": (1, 16, 64), "n": (2, 2, 4)}),
    ]
    names = {build_engine(made, other)[0].path.name for other in others}
    assert len(names | {engine.path.name}) == 4


def test_fixed_graphs_need_no_option(tmp_path: Path) -> None:
    model = graph(
        [node("MatMul", ["a", "b"], ["y"])], [value("a", (2, 3)), value("b", (3, 4))],
        [value("y", (2, 4))],
    )  # fmt: skip
    engine, _ = build_engine(bundle(tmp_path / "b", model))
    assert engine.key.shapes == {"a": ((2, 3),) * 3, "b": ((3, 4),) * 3}
    assert engine.proof["gflop"] * 1e9 == 2 * 2 * 3 * 4


def test_height_and_width_are_said_where_the_task_has_no_images(tmp_path: Path) -> None:
    model = graph(
        [node("Conv", ["x", "w"], ["y"])], [value("x", ("n", 3, "high", "wide"))],
        [value("y", ("n", 2, "a", "b"))], {"w": rising(2, 3, 1, 1)},
    )  # fmt: skip
    made = bundle(tmp_path / "b", model, multiple_of=8)
    with pytest.raises(UsageError, match=r"without a range: high, wide .*--axis high=1:128:512"):
        build_engine(made)
    sizes = ((8, 8), (9, 16), (32, 32))
    engine, _ = build_engine(made, BuildOptions(batch=(1, 1, 2), size=sizes))
    assert engine.key.shapes["x"] == ((1, 3, 8, 8), (1, 3, 16, 16), (2, 3, 32, 32))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({}, r"free axes without a range: length .*ids int64 \(n, length\).*--axis length=1:128"),
        ({"lenght": (1, 2, 3)}, r"no free axis called lenght.*free axes are: length, n"),
        ({"length": (4, 2, 8)}, r"length is 4:2:8, expected MIN:OPT:MAX, rising"),
    ],
)
def test_ranges_that_cannot_be(axes: Any, message: str, tmp_path: Path) -> None:
    made = reader(tmp_path / "b")
    with pytest.raises(UsageError, match=message):
        build_engine(made, BuildOptions(axes=axes))
    assert not list(made.path.glob("engines/*.engine"))


def test_ranges_are_read_from_words() -> None:
    assert read_axes(["length=1:128:512", "a=b=7"]) == {"length": (1, 128, 512), "a=b": (7, 7, 7)}
    for text in ("length", "=1", "length=", "length=1:2", "length=x"):
        with pytest.raises(UsageError, match="MIN:OPT:MAX"):
            read_axes([text])


def test_weights_beside_the_graph_are_found(tmp_path: Path) -> None:
    model = graph(
        [node("MatMul", ["x", "w"], ["y"])], [value("x", ("n", 64))], [value("y", ("n", 32))],
        {"w": rising(64, 32)},
    )  # fmt: skip
    whole = bundle(tmp_path / "whole", model)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="model.onnx.data",
              size_threshold=0)  # fmt: skip
    files = [(tmp_path / name).read_bytes() for name in ("m.onnx", "model.onnx.data")]
    made = Bundle.create(tmp_path / "b", files[0], whole.spec, {}, files[1])
    engine, _ = build_engine(made)
    assert engine.proof["weights"] == {"fp32": 1.0}
    assert engine.path.stat().st_size > 64 * 32 * 4
    other = Bundle.create(tmp_path / "c", files[0], whole.spec, {}, files[1][::-1])
    assert build_engine(other)[0].path.name != engine.path.name


def scoped(made: onnx.NodeProto, module: str) -> onnx.NodeProto:
    """As torch notes of a node from which module it came."""
    scopes = repr(["", module, made.name])
    made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    return made


REFUSED: dict[str, tuple[list[onnx.NodeProto], str]] = {
    "unsupported": (
        [node("Relu", ["x"], ["r"]), scoped(node("Det", ["r"], ["y"], name="d"), "head.area")],
        r"Det d of module head\.area: it has no Det \(UNSUPPORTED_NODE\)\. Replace Det by other",
    ),
    "no name": ([node("Det", ["x"], ["y"])], r"Det that gives y: it has no Det"),
    "foreign": (
        [node("FastGelu", ["x"], ["y"], name="/enc/gelu", domain="com.microsoft")],
        r"FastGelu /enc/gelu: it has no FastGelu",
    ),
    "a reason": (
        [node("MaxPool", ["x"], ["y", "where"], kernel_shape=[2], name="p")],
        r"MaxPool p: This version of TensorRT doesn't support",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_cannot_be_parsed_is_named(how: str, tmp_path: Path) -> None:
    nodes, message = REFUSED[how]
    made = bundle(tmp_path / "b", graph(nodes, [value("x", (2, 4, 4))], [value("y", ("a",))]))
    with pytest.raises(ExportError, match=message) as error:
        build_engine(made)
    assert "false" not in str(error.value)
    assert "--backend onnxruntime" in error.value.mend


def test_what_cannot_be_built_is_named(tmp_path: Path) -> None:
    model = graph(
        [node("NonMaxSuppression", ["boxes", "scores", "most", "iou"], ["kept"], name="boxes/nms")],
        [value("boxes", (1, 6, 4)), value("scores", (1, 1, 6))], [value("kept", ("k", 3), "int64")],
        {"most": np.array(5), "iou": rising(1)[0] + 1},
    )  # fmt: skip
    with pytest.raises(ExportError, match=r" at NonMaxSuppression boxes/nms: .*Replace NonMaxSu"):
        build_engine(bundle(tmp_path / "b", model))


def test_inputs_that_engines_cannot_have(tmp_path: Path) -> None:
    double = graph([node("Neg", ["x"], ["y"])], [value("x", ("n",), "float64")],
                   [value("y", ("n",), "float64")])  # fmt: skip
    with pytest.raises(ExportError, match=r"has no float64: x float64 \(n\)"):
        build_engine(bundle(tmp_path / "double", double))
    sized = graph([node("TopK", ["x", "k"], ["y", "i"])], [value("x", (9,)),
                  value("k", (1,), "int64")], [value("y", ("m",))])  # fmt: skip
    with pytest.raises(ExportError, match=r"what the input k of .* holds decides sizes"):
        build_engine(bundle(tmp_path / "sized", sized))


@pytest.mark.parametrize("opset", [11, 17])
def test_squeeze_that_names_no_axes(opset: int, tmp_path: Path) -> None:
    """TensorRT settles ranks when it builds: by the sizes that the engine is for."""
    model = graph(
        [node("MatMul", ["x", "w"], ["p"]), node("Squeeze", ["p"], ["s"], name="squash"),
         node("Sigmoid", ["s"], ["y"])],
        [value("x", ("n", 1, 16))], [value("y", ("n", 4))], {"w": rising(16, 4)}, opset,
    )  # fmt: skip
    made = bundle(tmp_path / "b", model)
    before = made.onnx.read_bytes()
    for batch in ((1, 1, 1), (2, 4, 8)):
        engine, _ = build_engine(made, BuildOptions(batch=batch))
        assert engine.proof["multiply_adds"] == {"fp32": 1.0}
    message = r"Squeeze squash of .*: of 1x1x4 and of 8x1x4, .*--batch 1, or"
    with pytest.raises(ExportError, match=message):
        build_engine(made, BuildOptions(batch=(1, 4, 8)))
    assert made.onnx.read_bytes() == before
    assert len(list(made.path.glob("engines/*.engine"))) == 2


def test_squeeze_in_branches_that_share_names(tmp_path: Path) -> None:
    """A float32 bundle may be the file as it was: each branch has its own tensors, called alike."""
    sides = {
        f"{name}_branch": onnx.helper.make_graph(
            [node(operator, ["p"], ["t"], **more), node("Squeeze", ["t"], ["o"])],
            name, [], [value("o", (2, 16))],
        )
        for name, operator, more in (("then", "Transpose", {"perm": [2, 0, 1]}),
                                     ("else", "Abs", {}))
    }  # fmt: skip
    model = graph(
        [node("MatMul", ["x", "w"], ["p"]), node("If", ["choice"], ["y"], **sides)],
        [value("x", (2, 1, 8)), value("choice", (), "bool")], [value("y", (2, 16))],
        {"w": rising(8, 16)}, 17,
    )  # fmt: skip
    made = bundle(tmp_path / "b", model)
    found = with_axes(made.onnx, {"x": ((2, 1, 8),) * 3, "choice": ((),) * 3})
    assert found is not None
    nodes = list(every_node(ir.from_proto(onnx.load_from_string(found))))
    taken = [one.inputs[1] for one in nodes if one.op_type == "Squeeze"]
    axes = [one.const_value.numpy().tolist() for one in taken if one and one.const_value]
    assert sorted(axes) == [[1], [2]]
