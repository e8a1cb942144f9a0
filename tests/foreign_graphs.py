"""ONNX files as others write them: small classifiers of digits, each with one odd thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Node = Any
FLOAT = TensorProto.FLOAT


class Net:
    """Cast, scale, two convolutions, a product, softmax: uint8 (n, 28, 28) to (n, 10)."""

    def __init__(self, opset: int = 18, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.opset, self.ir_version = opset, 8
        self.batch: int | str = "n"
        self.weights: dict[str, NDArray[Any]] = {
            "k": np.array(255.0, np.float32),
            "form": np.array([-1, 1, 28, 28], np.int64),
            "c1.w": weight(random, 8, 1, 3, 3),
            "c1.b": weight(random, 8),
            "c2.w": weight(random, 16, 8, 3, 3),
            "c2.b": weight(random, 16),
            "f.w": weight(random, 16 * 49, 10),
            "f.b": weight(random, 10),
        }
        conv = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        self.nodes: list[Node] = [
            node("Cast", ["pixels"], "x0", to=FLOAT),
            node("Div", ["x0", "k"], "x1"),
            node("Reshape", ["x1", "form"], "x"),
            node("Conv", ["x", "c1.w", "c1.b"], "a1", **conv),
            node("Relu", ["a1"], "r1"),
            node("Conv", ["r1", "c2.w", "c2.b"], "a2", **conv),
            node("Relu", ["a2"], "r2"),
            node("Flatten", ["r2"], "flat", axis=1),
            node("Gemm", ["flat", "f.w", "f.b"], "logits"),
            node("Softmax", ["logits"], "probabilities", axis=1),
        ]
        self.constant_nodes = False
        self.listed_weights = False
        self.functions: list[Any] = []
        self.value_info: list[Any] = []

    def replace(self, output: str, *nodes: Node) -> Net:
        """Put nodes in the place of the one that gives ``output``."""
        place = [one.output[0] for one in self.nodes].index(output)
        self.nodes[place : place + 1] = nodes
        return self

    def model(self) -> onnx.ModelProto:
        """The file's content."""
        tensors = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        inputs = [value("pixels", TensorProto.UINT8, [self.batch, 28, 28])]
        nodes = list(self.nodes)
        if self.constant_nodes:
            nodes = [helper.make_node("Constant", [], [one.name], value=one) for one in tensors]
            nodes += self.nodes
            tensors = []
        if self.listed_weights:
            inputs += [value(one.name, one.data_type, list(one.dims)) for one in tensors]
        graph = helper.make_graph(
            nodes, "net", inputs, [value("probabilities", FLOAT, [self.batch, 10])], tensors,
            value_info=self.value_info,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(one.domain, 1) for one in self.functions]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=self.ir_version, functions=self.functions
        )

    def save(self, path: Path) -> Path:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.model().SerializeToString())
        return path


def weight(random: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Values of the size that training gives."""
    inner = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]
    return (random.standard_normal(shape) / max(inner, 1) ** 0.5).astype(np.float32)


def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> Node:
    """A node that is named after its output."""
    return helper.make_node(operator, inputs, [output], name=f"{output}_n", **attributes)


def value(name: str, kind: int, shape: list[int | str]) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def _constant_nodes(net: Net) -> Net:
    net.constant_nodes = True
    return net


def _identity(net: Net) -> Net:
    net.weights["shared"] = net.weights.pop("f.b")
    net.nodes.insert(0, node("Identity", ["shared"], "f.b"))
    return net


def _listed(net: Net) -> Net:
    net.listed_weights, net.ir_version, net.opset = True, 3, 11
    return net


def _old(net: Net) -> Net:
    net.opset, net.ir_version = 7, 3
    return net


def _unnamed(net: Net) -> Net:
    for one in net.nodes:
        one.ClearField("name")
    return net


def _partial(net: Net) -> Net:
    net.value_info = [value("x0", FLOAT, ["n", 28, 28]), value("x1", FLOAT, ["n", 28, 28])]
    return net


def _wrong_info(net: Net) -> Net:
    net.value_info = [value("a2", FLOAT, ["n", 16, "h", "w"])]
    return net


def _double(net: Net) -> Net:
    for name in ("f.w", "f.b"):
        net.weights[name] = net.weights[name].astype(np.float64)
    return net.replace(
        "logits",
        node("Cast", ["flat"], "wide", to=TensorProto.DOUBLE),
        node("Gemm", ["wide", "f.w", "f.b"], "wide_logits"),
        node("Cast", ["wide_logits"], "logits", to=FLOAT),
    )


def _function(net: Net) -> Net:
    body = [
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Mul", ["X", "half"], ["scaled"]),
        helper.make_node("Relu", ["scaled"], ["Y"]),
    ]
    net.functions = [
        helper.make_function("my", "Act", ["X"], ["Y"], body, [helper.make_opsetid("", net.opset)])
    ]
    return net.replace("r1", node("Act", ["a1"], "r1", domain="my"))


def _loop(net: Net) -> Net:
    """A convolution in a loop that runs twice, on a value of the outer graph."""
    random = np.random.default_rng(1)
    net.weights |= {"l.w": weight(random, 8, 8, 3, 3), "twice": np.array(2, np.int64)}
    net.weights["go"] = np.array(True)
    body = helper.make_graph(
        [
            node("Conv", ["state", "l.w"], "inner", pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["inner", "r1"], ["next"], name="next_n"),
            helper.make_node("Identity", ["cond"], ["cond_out"]),
        ],
        "body",
        [value("i", TensorProto.INT64, []), value("cond", TensorProto.BOOL, []),
         value("state", FLOAT, ["n", 8, 14, 14])],
        [value("cond_out", TensorProto.BOOL, []), value("next", FLOAT, ["n", 8, 14, 14])],
    )  # fmt: skip
    place = [one.output[0] for one in net.nodes].index("a2")
    net.nodes[place].input[0] = "looped"
    net.nodes.insert(place, node("Loop", ["twice", "go", "r1"], "looped", body=body))
    return net


def _branches(net: Net, noted: tuple[int | str, ...] = ("n", 8, 14, 14)) -> Net:
    """One of two convolutions, by the brightness; their outputs have this shape by their notes."""
    random = np.random.default_rng(2)
    net.weights |= {"t.w": weight(random, 8, 8, 1, 1), "e.w": weight(random, 8, 8, 1, 1)}
    net.weights["limit"] = np.array(0.5, np.float32)
    then, other = (
        helper.make_graph(
            [helper.make_node("Conv", ["r1", f"{letter}.w"], ["out"], name=f"{letter}_n")],
            letter, [], [value("out", FLOAT, list(noted))],
        )
        for letter in "te"
    )  # fmt: skip
    place = [one.output[0] for one in net.nodes].index("a2")
    net.nodes[place].input[0] = "branched"
    net.nodes[place:place] = [
        node("ReduceMax", ["x"], "bright", keepdims=0),
        node("Greater", ["bright", "limit"], "choice"),
        node("If", ["choice"], "branched", then_branch=then, else_branch=other),
    ]
    return net


def _minus_infinity(net: Net) -> Net:
    net.weights["mask"] = np.array([0.0] * 9 + [-np.inf], np.float32)
    return net.replace(
        "logits",
        node("MatMul", ["flat", "f.w"], "free"),
        node("Add", ["free", "mask"], "logits"),
    )


def _huge_mask(net: Net) -> Net:
    net.weights["hidden"] = np.array([0.0] * 9 + [1.0], np.float32)
    net.weights["huge"] = np.array(-1e9, np.float32)
    return net.replace(
        "logits",
        node("MatMul", ["flat", "f.w"], "free"),
        node("Mul", ["hidden", "huge"], "mask"),
        node("Add", ["free", "mask"], "logits"),
    )


def _cumsum(net: Net) -> Net:
    net.opset = 13
    net.weights["axis"] = np.array(1, np.int64)
    return net.replace(
        "logits",
        node("CumSum", ["flat", "axis"], "sums"),
        node("Add", ["sums", "flat"], "both"),
        node("Gemm", ["both", "f.w", "f.b"], "logits"),
    )


def _upsample(net: Net) -> Net:
    net.opset, net.ir_version = 9, 4
    net.weights["scales"] = np.array([1, 1, 2, 2], np.float32)
    return net.replace(
        "r1",
        node("Relu", ["a1"], "small"),
        node("Upsample", ["small", "scales"], "large", mode="nearest"),
        node("MaxPool", ["large"], "r1", kernel_shape=[2, 2], strides=[2, 2]),
    )


def _boxes(net: Net) -> Net:
    """NonMaxSuppression behind the layers; what it gives is counted."""
    net.weights |= {
        "boxes": np.random.default_rng(3).random((1, 10, 4)).astype(np.float32),
        "most": np.array([5], np.int64),
        "share": np.array([0.5], np.float32),
        "axes": np.array([0], np.int64),
        "zero": np.array(0.0, np.float32),
        "dims": np.array([1, 1, 10], np.int64),
    }
    return net.replace(
        "probabilities",
        node("ReduceMean", ["logits", "axes"], "one", keepdims=1),
        node("Reshape", ["one", "dims"], "scores"),
        node("NonMaxSuppression", ["boxes", "scores", "most", "share"], "chosen"),
        node("Cast", ["chosen"], "chosen_float", to=FLOAT),
        node("ReduceSum", ["chosen_float"], "sum", keepdims=0),
        node("Mul", ["sum", "zero"], "nothing"),
        node("Add", ["logits", "nothing"], "kept"),
        node("Softmax", ["kept"], "probabilities", axis=1),
    )


def _recurrent(net: Net) -> Net:
    """An LSTM over the rows, whose last output is the only one that is taken."""
    random = np.random.default_rng(4)
    net.weights |= {
        "rows": np.array([-1, 28, 28], np.int64),
        "W": weight(random, 1, 64, 28),
        "R": weight(random, 1, 64, 16),
        "last.w": weight(random, 16, 10),
        "one": np.array([0], np.int64),
    }
    lstm = helper.make_node("LSTM", ["steps", "W", "R"], ["", "hidden"], name="hidden_n",
                            hidden_size=16)  # fmt: skip
    return net.replace(
        "logits",
        node("Reshape", ["x", "rows"], "batch_first"),
        node("Transpose", ["batch_first"], "steps", perm=[1, 0, 2]),
        lstm,
        node("Squeeze", ["hidden", "one"], "state"),
        node("MatMul", ["state", "last.w"], "more"),
        node("Gemm", ["flat", "f.w", "f.b"], "less"),
        node("Add", ["more", "less"], "logits"),
    )


def _epsilon(net: Net) -> Net:
    """A normalisation whose guard against 0 is nothing in float16."""
    net.weights |= {"tiny": np.array(1e-12, np.float32), "axes": np.array([1], np.int64)}
    return net.replace(
        "logits",
        node("ReduceL2", ["flat", "axes"], "length", keepdims=1),
        node("Max", ["length", "tiny"], "guarded"),
        node("Div", ["flat", "guarded"], "unit"),
        node("Gemm", ["unit", "f.w", "f.b"], "logits"),
    )


def _logits(net: Net) -> Net:
    return net.replace("logits").replace(
        "probabilities", node("Gemm", ["flat", "f.w", "f.b"], "probabilities")
    )


def _half_in_the_middle(net: Net) -> Net:
    """A cast to float16 and back that does nothing else."""
    return net.replace(
        "r1",
        node("Relu", ["a1"], "full"),
        node("Cast", ["full"], "narrow", to=TensorProto.FLOAT16),
        node("Cast", ["narrow"], "r1", to=FLOAT),
    )


# What half precision must take as it is, by what is odd about it.
FINE: dict[str, Callable[[Net], Net]] = {
    "plain": lambda net: net,
    "weights in Constant nodes": _constant_nodes,
    "a weight behind an Identity": _identity,
    "weights among the inputs": _listed,
    "opset 7": _old,
    "nodes without names": _unnamed,
    "some value_info": _partial,
    "value_info with other names": _wrong_info,
    "float64 in the middle": _double,
    "a function of its own": _function,
    "a loop": _loop,
    "branches": _branches,
    "branches whose notes are wrong": lambda net: _branches(net, ("n", 8)),
    "a mask of -inf": _minus_infinity,
    "a mask times -1e9": _huge_mask,
    "CumSum 11": _cumsum,
    "Upsample 9": _upsample,
    "NonMaxSuppression": _boxes,
    "an LSTM without its first output": _recurrent,
    "a guard of 1e-12": _epsilon,
    "logits": _logits,
    "a cast to half and back": _half_in_the_middle,
}
