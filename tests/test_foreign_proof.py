"""Comparing, certifying and building files that others wrote."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from typer.testing import CliRunner

import dlkit
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import UsageError, VerifyError

from .foreign_graphs import FLOAT, Net, node, value, weight

CLASSES = {"task": "recognize", "labels": [str(digit) for digit in range(10)]}


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def pixels(count: int) -> dict[str, Any]:
    return {"pixels": np.random.default_rng(5).integers(0, 256, (count, 28, 28), dtype=np.uint8)}


def mixed(path: Path, names: str = "abc", factor: float = 1.0) -> Path:
    """Three inputs (float32, int64, bool) and two outputs (float32, int64)."""
    random = np.random.default_rng(0)
    a, b, c = names
    nodes = [
        node("Gather", ["table", b], "rows", axis=0),
        node("Add", [a, "rows"], "sum"),
        node("MatMul", ["sum", "w"], "made"),
        node("Cast", [c], "gate", to=FLOAT),
        node("Unsqueeze", ["gate", "axis"], "gates"),
        node("Mul", ["made", "gates"], f"{a}_out"),
        node("Mul", [b, b], f"{b}_out"),
    ]
    weights = {
        "table": weight(random, 7, 16),
        "w": weight(random, 16, 16) * np.float32(factor),
        "axis": np.array([1], np.int64),
    }
    graph = helper.make_graph(
        nodes, "mixed",
        [value(a, FLOAT, ["n", 16]), value(b, TensorProto.INT64, ["n"]),
         value(c, TensorProto.BOOL, ["n"])],
        [value(f"{a}_out", FLOAT, ["n", 16]), value(f"{b}_out", TensorProto.INT64, ["n"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def arrays(path: Path, count: int = 100) -> Path:
    random = np.random.default_rng(1)
    np.savez(
        path, a=random.standard_normal((count, 16), np.float32),
        b=random.integers(0, 7, count), c=random.random(count) > 0.2,
    )  # fmt: skip
    return path


def test_two_files_that_nobody_saw_before(here: Path) -> None:
    mixed(here / "a.onnx")
    mixed(here / "b.onnx", names="xyz")  # other names, the same places
    mixed(here / "c.onnx", factor=1.5)
    arrays(here / "x.npz", 24)  # a comparison takes any number
    done = command("verify", "a.onnx", "--against", "b.onnx", "--data", "x.npz")
    assert done.exit_code == 0, done.output
    assert "24 of x.npz" in done.output
    assert "no bundle: no certificate was written" in " ".join(done.output.split())
    done = command("verify", "a.onnx", "--against", "c.onnx", "--data", "x.npz")
    assert done.exit_code == 1
    assert "out of tolerance on onnxruntime" in str(done.exception)
    assert re.search(r"onnxruntime +cpu +fp32 .* \d+\.\d+% .* OUT", done.output)
    with pytest.raises(UsageError, match="nothing is compared with itself"):
        dlkit.verify("a.onnx", "a.onnx", "x.npz")
    with pytest.raises(VerifyError, match="nothing independent"):
        dlkit.verify("a.onnx", data="x.npz")
    assert not list(here.glob("**/model.json"))


def test_nan_and_infinity_are_counted(here: Path) -> None:
    def broken(path: Path, operator: str) -> Path:
        graph = helper.make_graph(
            [node("Sub", ["x", "c"], "y"), node(operator, ["y"], "z")], "g",
            [value("x", FLOAT, ["n", 4])], [value("z", FLOAT, ["n", 4])],
            [numpy_helper.from_array(np.array(1.0, np.float32), "c")],
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 17)]
        path.write_bytes(
            helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
        )
        return path

    x = np.full((2, 4), 3.0, np.float32)
    x[0, :2], x[1, 0] = 0.5, 1.0
    broken(here / "abs.onnx", "Abs")
    for operator, shown in (("Sqrt", "2 NaN"), ("Reciprocal", "1 infinite")):
        broken(here / "x.onnx", operator)
        np.savez("x.npz", x=x)
        done = command("verify", "x.onnx", "--against", "abs.onnx", "--data", "x.npz")
        assert done.exit_code == 1
        assert shown in done.output
    broken(here / "r.onnx", "Sqrt")
    with pytest.raises(VerifyError, match="the reference gives NaN"):
        dlkit.verify("abs.onnx", "r.onnx", "x.npz")


@pytest.mark.long
def test_a_run_and_a_module_are_compared_too(here: Path) -> None:
    torch.manual_seed(0)
    Path("nets.py").write_text(
        "import torch\nfrom torch import nn\n\ndef build():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))\n"
    )
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    dlkit.export(net, example=(6,), name="net")
    Path("net.onnx").write_bytes(Path("net-fp32/model.onnx").read_bytes())
    np.save("x.npy", np.random.default_rng(0).standard_normal((9, 6), np.float32))
    done = command("verify", "nets.py:build", "--against", "net.onnx", "--data", "x.npy")
    assert done.exit_code == 1
    assert "net.onnx holds the very graph that is verified" in str(done.exception)
    done = command("verify", "net.onnx", "--against", "nets.py:build", "--data", "x.npy")
    assert done.exit_code == 0, done.output


# --- certificates ---


def test_what_gets_no_certificate(here: Path) -> None:
    net = Net()  # random weights
    file = net.save(here / "net.onnx")
    full = dlkit.export(file, **CLASSES)
    with pytest.raises(VerifyError, match="the file that it was made from is the same graph"):
        dlkit.verify(full)
    half = dlkit.export(file, "fp16", **CLASSES)
    with pytest.raises(VerifyError, match="no more than a guess"):
        dlkit.verify(half)  # on digits: it computes what its source does, and that is nothing
    with pytest.raises(UsageError, match="nothing is compared with itself"):
        dlkit.verify(full, file)
    for bundle in (full, half):
        assert Bundle.open(bundle.path).certificate is None


def test_a_certificate_of_arrays_needs_a_hundred(here: Path) -> None:
    mixed(here / "a.onnx")
    half = dlkit.export("a.onnx", "fp16")
    arrays(here / "x.npz", 99)
    done = command("verify", half.path, "--data", "x.npz", "--against", "a.onnx")
    assert "needs 100 inputs or more, x.npz gives 99" in str(done.exception)
    with pytest.raises(UsageError, match="gives 99"):
        dlkit.verify(half, "a.onnx", "random", 99)
    assert Bundle.open(half.path).certificate is None
    assert dlkit.verify(half, "a.onnx", "random").inputs.count == 100
    mixed(here / "b.onnx", names="xyz")
    assert dlkit.verify("b.onnx", "a.onnx", "random", 1).inputs.count == 1  # gets no certificate


@pytest.mark.long
def test_random_inputs_are_a_weak_certificate(here: Path) -> None:
    mixed(here / "a.onnx")
    half = dlkit.export("a.onnx", "fp16")
    arrays(here / "x.npz")
    Path("one").mkdir()
    arrays(here / "one" / "x.npz")
    assert dlkit.verify(half, data="random").inputs.random
    assert "random" in command("verify", half.path, "--data", "random").output
    run = ("run", half.path, "one", "--out", "out", "--require-certificate")
    refused = command(*run)
    assert refused.exit_code == 1
    assert "on random inputs" in str(refused.exception)
    assert command(*run, "--accept-random").exit_code == 0
    assert dlkit.verify(half, data="x.npz").inputs.name == "x.npz"
    assert command(*run, "--overwrite").exit_code == 0
    # a weaker one does not take its place, wherever the bundle lies
    copy = half.copy(here / "far" / "away")
    copy = Bundle.open(copy.path).with_certificate(Bundle.open(half.path).certificate)
    done = command("verify", copy.path, "--data", "random", "--against", "a.onnx")
    assert done.exit_code == 0, done.output
    assert "says more than this would (random inputs" in " ".join(done.output.split())
    there = Bundle.open(copy.path).certificate
    assert there is not None
    assert not there.inputs.random
    done = command("verify", copy.path, "--data", "random", "--against", "a.onnx", "--replace")
    assert done.exit_code == 0
    there = Bundle.open(copy.path).certificate
    assert there is not None
    assert there.inputs.random


# --- int8 and pictures ---


def trained_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()


@pytest.mark.long
def test_int8_on_pictures_and_on_arrays(here: Path) -> None:
    free = {0: torch.export.Dim("n", min=1, max=64)}
    given = (torch.zeros(2, 3, 32, 32),)
    program = torch.onnx.export(trained_net(), given, dynamo=True, dynamic_shapes=(free,))
    assert program is not None
    program.save("net.onnx")
    Path("pictures").mkdir()
    random = np.random.default_rng(2)
    for number in range(12):
        image = cv2.GaussianBlur(random.integers(0, 256, (40, 50, 3), dtype=np.uint8), (9, 9), 3)
        cv2.imwrite(f"pictures/{number}.png", image)
    with_pixels = dlkit.export(
        "net.onnx", "int8", "pictured", task="recognize", labels="abcd",
        pixels=dlkit.Pixels(), example=(3, 32, 32), data="pictures",
    )  # fmt: skip
    assert dlkit.inspect(with_pixels.path).multiply_adds["int8"] >= 0.5
    assert with_pixels.origin["int8"]["validation"]["count"] == 6
    for name in ("seen.npy", "x.npy"):
        np.save(name, random.standard_normal((100, 3, 32, 32)).astype(np.float32))
    plain = dlkit.export("net.onnx", "int8", "plain", data="seen.npy")
    assert plain.spec.precision == "int8"
    assert dlkit.verify(plain, data="x.npy").reference.name == "onnxruntime fp32, net.onnx"


def test_int8_of_old_files_with_several_inputs(here: Path) -> None:
    old = Net(opset=9)
    old.constant_nodes = True
    old.save(here / "old.onnx")
    np.savez("digits.npz", **pixels(40))
    bundle = dlkit.export("old.onnx", "int8", data="digits.npz")
    assert dlkit.inspect(bundle.path).opsets["ai.onnx"] >= 13
    mixed(here / "mixed.onnx")
    arrays(here / "x.npz", 64)
    assert dlkit.export("mixed.onnx", "int8", data="x.npz").spec.precision == "int8"


# --- inspect ---


def test_inspect_counts_what_export_proves(here: Path) -> None:
    file = Net().save(here / "net.onnx")
    found = dlkit.inspect(file)
    assert found.total["multiply_adds"] == 14 * 14 * 8 * 9 + 7 * 7 * 16 * 72 + 784 * 10
    assert found.inputs == ["pixels uint8 (n, 28, 28)"]
    assert (found.opsets, found.external) == ({"ai.onnx": 18}, [])
    told = json.loads(command("inspect", file, "--json").output)
    assert told["multiply_adds"] == {"fp32": 1.0}
    half = dlkit.export(file, "fp16")
    shown = command("inspect", half.path).output
    assert re.search(r"fp16 +100.0% +\d+\.\d%", shown)
    assert half.origin["share"]["multiply_adds"] == dlkit.inspect(half.path).multiply_adds["fp16"]
    assert command("inspect", mixed(here / "m.onnx"), "--size", "n=5").exit_code == 0
    assert dlkit.inspect("m.onnx", {"n": 5}).total["multiply_adds"] == 5 * 256
    refused = command("inspect", "m.onnx", "--size", "n")
    assert "expected NAME=SIZE" in str(refused.exception)


class Reader(nn.Module):
    """Token ids and a mask to tags: an embedding, attention, several axes that are free."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, dropout=0.0)
        self.tags = nn.Linear(32, 6)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x: Tensor = self.layer(self.embedding(ids), src_key_padding_mask=~mask)
        return self.tags(x).softmax(-1)


@pytest.fixture
def no_fast_path() -> Iterator[None]:
    """The transformer's own kernel cannot be exported."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.long
@pytest.mark.usefixtures("no_fast_path")
def test_a_transformer_as_torch_writes_it(here: Path) -> None:
    """Its weights beside the file; an embedding, layer normalisation, a mask of -inf."""
    torch.manual_seed(0)
    net = Reader().eval()
    given = (torch.randint(0, 50, (2, 9)), torch.ones(2, 9, dtype=torch.bool))
    free = {0: torch.export.Dim("n", min=1, max=64), 1: torch.export.Dim("length", min=2, max=99)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two axes that are the same
        program = torch.onnx.export(net, given, dynamo=True, dynamic_shapes=(free, free))
    assert program is not None
    program.save("net.onnx", external_data=True)
    half = dlkit.export("net.onnx", "fp16")
    shares = dlkit.inspect(half.path, {"n": 2, "length": 12})
    assert min(shares.multiply_adds["fp16"], shares.weights["fp16"]) > 0.95
    mask = np.arange(12) < np.tile([[12], [7], [1], [9]], (25, 1))
    ids = np.random.default_rng(0).integers(0, 50, (100, 12))
    np.savez("x.npz", ids=ids, mask=mask)
    found = dlkit.verify(half, data="x.npz")
    assert max(row.mean for row in found.measured) < 1e-3
    with torch.inference_mode():
        wanted = net(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    with dlkit.load(half, task="tensors") as model:
        (got,) = model.run({"ids": ids, "mask": mask}).values()
    assert np.abs(got - wanted).max() < 5e-3
