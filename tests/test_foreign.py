"""ONNX files that others wrote: taken as they are, in every precision, or refused with a reason."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.external_data_helper
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from typer.testing import CliRunner

import dlkit
from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import DlkitError, ExportError, UsageError
from dlkit.export.proof.bisect import bisect
from dlkit.export.proof.rounding import run_rounded
from dlkit.graph.read import read_graph
from dlkit.runtime.session import open_session, runnable

from .foreign_graphs import FINE, FLOAT, Net, node, value, weight
from .long import long, long_but

LABELS = [str(digit) for digit in range(10)]
CLASSES = {"task": "recognize", "labels": LABELS}


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def pixels(count: int = 1) -> dict[str, Any]:
    return {"pixels": np.random.default_rng(5).integers(0, 256, (count, 28, 28), dtype=np.uint8)}


def expected(file: Path, feeds: dict[str, Any]) -> Any:
    """Of the file as it is, without optimisations, in float32."""
    from dlkit.runtime.backends._onnx_session import onnx_session

    return onnx_session(file, 1, optimise=False).run(None, feeds)[0]


def on(bundle: Bundle, backend: str, device: str) -> Any:
    """Answers of a backend."""
    session = open_session(bundle, backend, device).session
    try:
        return session(pixels()["pixels"])
    finally:
        session.close()


@pytest.mark.parametrize("kind", long_but(list(FINE)[::3], FINE))
def test_half_precision_of_files_as_they_come(kind: str, here: Path) -> None:
    file = FINE[kind](Net()).save(here / "net.onnx")
    bundle = dlkit.export(file, "fp16", **CLASSES)
    assert bundle.spec.labels == tuple(LABELS)
    assert bundle.onnx.stat().st_size < 0.75 * file.stat().st_size
    found = dlkit.inspect(bundle.path)
    assert found.multiply_adds["fp16"] >= 0.95
    assert found.weights["fp16"] >= 0.95
    wanted = expected(file, pixels())
    if bundle.origin["around"]["ends"] == ["softmax"]:
        wanted = torch.softmax(torch.from_numpy(wanted), 1).numpy()
    (got,) = run_rounded(read_graph(bundle.onnx), [pixels()])
    assert np.abs(got["probabilities"] - wanted).max() < 0.005
    for backend, device in runnable(bundle):
        assert np.abs(on(bundle, backend, device) - wanted).max() < 0.005, backend


def test_a_file_alone_is_enough(here: Path) -> None:
    file = Net().save(here / "net.onnx")
    bundle = dlkit.export(file)
    assert bundle.onnx.read_bytes() == file.read_bytes()
    assert (bundle.spec.task, bundle.spec.precision) == ("tensors", "fp32")
    assert [str(one) for one in bundle.spec.inputs] == ["pixels uint8 (n, 28, 28)"]
    with dlkit.load(bundle, task="tensors") as model:
        assert model.run(pixels(3))["probabilities"].shape == (3, 10)


# --- weights in other files ---


def outside(net: Net, folder: Path, location: str = "net.onnx.data") -> Path:
    """The file as torch writes it by default: its weights beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = net.model()
    onnx.external_data_helper.convert_model_to_external_data(
        model, location=location, size_threshold=100
    )
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def test_weights_beside_the_file_are_read_whole(here: Path, monkeypatch: Any) -> None:
    one, two = outside(Net(seed=1), here / "one"), outside(Net(seed=2), here / "two")
    monkeypatch.chdir(one.parent)  # which has weights of the same name
    bundle = dlkit.export(two, "fp16", here / "half", **CLASSES)
    (got,) = run_rounded(read_graph(bundle.onnx), [pixels()])
    assert np.abs(got["probabilities"] - expected(two, pixels())).max() < 0.005
    full = dlkit.export(two, out=here / "full")
    assert not list(full.path.glob("*.data"))
    with dlkit.load(full, task="tensors") as model:
        got = model.run(pixels())
    assert np.allclose(got["probabilities"], expected(two, pixels()), atol=1e-6)
    # the file that it came from is found again, weights and all
    assert dlkit.verify(bundle, data=pixels(100)).reference.name == "onnxruntime fp32, net.onnx"


def test_weights_that_are_not_beside_the_file(here: Path) -> None:
    file = outside(Net(), here / "a")
    weights = here / "a" / "net.onnx.data"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(
        ExportError, match=r"net.onnx.data has \d+ bytes, .* ends at \d+: it is cut"
    ):
        dlkit.export(file)
    weights.unlink()
    with pytest.raises(ExportError, match=r"are not there. Put net.onnx.data beside net.onnx"):
        dlkit.export(file)
    (here / "net.onnx.data").write_bytes(whole)  # the working directory is not the file's folder
    with pytest.raises(ExportError, match="are not there"):
        dlkit.export(file)
    weights.symlink_to(here / "net.onnx.data")
    with pytest.raises(ExportError, match="outside of the file's folder"):
        dlkit.export(file)
    model = onnx.load(file, load_external_data=False)
    for place in ("../net.onnx.data", str(here / "net.onnx.data")):
        for tensor in model.graph.initializer:
            for part in tensor.external_data[:1]:
                part.value = place
        file.write_bytes(model.SerializeToString())
        with pytest.raises(ExportError, match="outside of the file's folder"):
            dlkit.export(file)
    assert not list(here.glob("**/model.json"))


def test_weights_above_the_limit_stay_beside_the_graph(here: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys.modules["dlkit.graph.read"], "LARGEST", 1000)
    file = outside(Net(), here / "in")
    for precision in ("fp32", "fp16"):
        bundle = dlkit.export(file, precision, here / precision, **CLASSES)
        assert bundle.weights is not None
        assert bundle.onnx.stat().st_size < bundle.weights.stat().st_size
        for backend, device in runnable(bundle):
            gap = on(bundle, backend, device) - expected(file, pixels())
            assert np.abs(gap).max() < 0.005
        if precision == "fp16":
            found = dlkit.verify(bundle, against=file, data=pixels(100))
            assert "rounded" in [row.backend for row in found.measured]
            assert bisect(bundle, file, pixels(2)).culprits == []
        copy = bundle.copy(here / f"copy-{precision}")
        assert (copy.sha256, copy.weights is not None) == (bundle.sha256, True)
        data = bytearray(bundle.weights.read_bytes())
        data[-1] ^= 1
        bundle.weights.write_bytes(data)
        with pytest.raises(DlkitError, match="damaged or was changed"):
            Bundle.open(bundle.path)


@pytest.mark.long
def test_files_above_two_gib(here: Path) -> None:
    """Of real size, which protocol buffers refuse to write; of zeros, which take no disk."""
    wide = 1 << 14
    ends = [helper.make_tensor_value_info(name, 1, ["n", wide]) for name in "xz"]
    weights = [onnx.TensorProto(name=name, data_type=1, dims=[wide, wide], raw_data=b"")
               for name in "ab"]  # fmt: skip
    for place, tensor in enumerate(weights):
        size = 4 * wide**2
        onnx.external_data_helper.set_external_data(tensor, "weights", place * size, size)
        tensor.ClearField("raw_data")
    with Path("weights").open("wb") as file:
        file.truncate(2 * size)
    for name, taken in (("large", "y"), ("broken", "nowhere")):
        nodes = [helper.make_node("MatMul", ["x", "a"], ["y"]),
                 helper.make_node("MatMul", [taken, "b"], ["z"])]  # fmt: skip
        graph = helper.make_graph(nodes, name, ends[:1], ends[1:], weights)
        opsets = [helper.make_opsetid("", 18)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), f"{name}.onnx")
    assert dlkit.inspect("large.onnx").weights == {"fp32": 1.0}
    with pytest.raises(ExportError, match="breaks ONNX's rules"):
        dlkit.export("broken.onnx")


@pytest.mark.long
def test_modules_above_the_limit_keep_their_weights(here: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(sys.modules["dlkit.graph.read"], "LARGEST", 1000)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    x = np.random.default_rng(0).standard_normal((3, 64), np.float32)
    for precision in ("fp32", "fp16"):
        bundle = dlkit.export(net.eval(), precision, example=(64,), name="net")
        assert bundle.weights is not None
        with dlkit.load(bundle, task="tensors", backend="onnxruntime") as model:
            (found,) = model.run(x).values()
        assert np.abs(found - net(torch.from_numpy(x)).detach().numpy()).max() < 0.005
    np.save("x.npy", x)
    with pytest.raises(ExportError, match="int8 is made of graphs of at most"):
        dlkit.export(net, "int8", example=(64,), name="net", data="x.npy")
    assert not Path("net-int8").exists()


# --- files that are none, and what a spec says wrongly ---


def test_what_is_no_graph(here: Path) -> None:
    whole = Net().model().SerializeToString()
    empty = helper.make_model(helper.make_graph([], "g", [], []))
    unknown = Net().replace("r1", node("Relux", ["a1"], "r1"))
    theirs = Net().replace("r1", node("Act", ["a1"], "r1", domain="somebody")).model()
    theirs.opset_import.append(helper.make_opsetid("somebody", 1))
    files = {
        b"this is no ONNX file\n": "is no ONNX file, or it is cut",
        whole[: len(whole) // 2]: "is no ONNX file, or it is cut",
        b"": "it has no graph with outputs",
        empty.SerializeToString(): "it has no graph with outputs",
        unknown.model().SerializeToString(): "breaks ONNX's rules: .*Relux",
        theirs.SerializeToString(): "node r1_n is somebody.Act, which neither",
    }
    for data, message in files.items():
        Path("net.onnx").write_bytes(data)
        for precision in (None, "fp16", "int8"):
            with pytest.raises(ExportError, match=message):
                dlkit.export("net.onnx", precision)
        if b"Act" not in data:
            with pytest.raises(ExportError, match=message):
                dlkit.inspect("net.onnx")
    assert [path.name for path in here.iterdir()] == ["net.onnx"]


SPEC: dict[str, Any] = {
    "name": "mine",
    "task": "recognize",
    "precision": "fp32",
    "inputs": [{"name": "pixels", "dtype": "uint8", "shape": ["n", 28, 28]}],
    "outputs": [{"name": "probabilities", "dtype": "float32", "shape": ["n", 10]}],
}


def test_a_spec_is_checked_against_the_graph(here: Path) -> None:
    Net().save(here / "net.onnx")
    fixed = Net()
    fixed.batch = 1
    fixed.save(here / "one.onnx")

    def refused(changes: dict[str, Any], message: str, file: str = "net.onnx") -> None:
        Path("spec.json").write_text(json.dumps(SPEC | changes))
        with pytest.raises(DlkitError, match=message):
            dlkit.export(file, "fp16", spec="spec.json")
        assert not list(here.glob("*/model.json"))

    refused({"precision": "fp16"}, "is fp32, its spec says fp16")
    refused({"labels": ["a", "b"]}, "2 labels, the graph gives 10 classes")
    named = [SPEC["inputs"][0] | {"name": "image"}]
    refused({"inputs": named}, "has the inputs pixels, its spec image")
    floats = [SPEC["inputs"][0] | {"dtype": "float32"}]
    refused({"inputs": floats}, "is pixels uint8 .*, its spec says pixels float32")
    refused({}, r"is pixels uint8 \(1, 28, 28\), its spec says", "one.onnx")
    refused({"colours": 3}, "unknown fields colours")
    Path("spec.json").write_text("[1]")
    with pytest.raises(UsageError, match="holds list, expected an object"):
        dlkit.export("net.onnx", spec="spec.json")
    # meaning alone is enough
    Path("spec.json").write_text(json.dumps({"task": "recognize", "labels": LABELS}))
    bundle = dlkit.export("net.onnx", "fp16", spec="spec.json")
    assert (bundle.spec.labels, bundle.spec.input.name) == (tuple(LABELS), "pixels")


def test_a_fixed_batch_runs_one_by_one(here: Path) -> None:
    net = Net()
    net.batch = 1
    bundle = dlkit.export(net.save(here / "net.onnx"), "fp16", **CLASSES)
    with dlkit.load(bundle, task="recognize") as model:
        assert len(model.recognize(list(pixels(5)["pixels"]))) == 5
    assert dlkit.verify(bundle, data=pixels(120)).inputs.count == 120


def test_free_axes_without_names_are_not_one_axis(here: Path) -> None:
    for nameless in ("?", "", -1):
        shape = [nameless, 1, nameless, nameless]
        graph = helper.make_graph(
            [node("Conv", ["x", "w"], "y", pads=[1, 1, 1, 1])],
            "net", [value("x", FLOAT, shape)], [value("y", FLOAT, shape)],
            [numpy_helper.from_array(weight(np.random.default_rng(0), 1, 1, 3, 3), "w")],
        )  # fmt: skip
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8),
            "net.onnx",
        )
        bundle = dlkit.export("net.onnx", "fp16", here / f"bundle{nameless}")
        assert bundle.spec.input.shape == ("x_0", 1, "x_2", "x_3")
        with dlkit.load(bundle, task="tensors") as model:
            assert model.run({"x": np.ones((2, 1, 5, 7), np.float32)})["y"].shape == (2, 1, 5, 7)


def test_sound_is_longer_than_a_picture_is_wide(here: Path) -> None:
    """Windows of 512 samples; the sine of what does not change is 0 but for rounding."""
    angles = np.outer(np.arange(257), np.arange(512)) * (2 * np.pi / 512)
    parts = {"real": np.cos(angles), "imag": np.sin(angles)}
    weights = {name: part.astype(np.float32)[:, None] for name, part in parts.items()}
    nodes = [node("Conv", ["sound", name], f"{name}_part", strides=[160]) for name in weights]
    nodes += [node("Mul", [f"{name}_part"] * 2, f"{name}_power") for name in weights]
    nodes += [node("Add", ["real_power", "imag_power"], "power")]
    graph = helper.make_graph(
        nodes, "net", [value("sound", FLOAT, ["n", 1, "samples"])],
        [value("power", FLOAT, ["n", 257, "frames"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), "net.onnx")
    assert dlkit.inspect("net.onnx").total["multiply_adds"] > 0
    bundle = dlkit.export("net.onnx", "fp16")
    assert bundle.origin["share"] == {"multiply_adds": 1.0, "weights": 1.0}
    assert not bundle.origin["left_fp32"]


# --- what half precision cannot hold ---


@pytest.mark.parametrize("factor", [1e-8, 1e-30, 1e7])
def test_weights_that_float16_cannot_hold_are_scaled(factor: float, here: Path) -> None:
    """A convolution whose weights are nothing in float16, before what makes up for it."""
    net = Net(opset=17)
    net.weights["c2.w"] *= np.float32(factor)
    net.weights["c2.b"] *= np.float32(factor)
    net.weights |= {"scale": np.ones(784, np.float32), "bias": np.zeros(784, np.float32)}
    net.replace(
        "flat",
        node("Flatten", ["r2"], "rows", axis=1),
        node("Div", ["rows", "back"], "even"),
        node("LayerNormalization", ["even", "scale", "bias"], "flat"),
    )
    net.weights["back"] = np.array(factor, np.float32)
    file = net.save(here / "net.onnx")
    bundle = dlkit.export(file, "fp16", **CLASSES)
    found = dlkit.inspect(bundle.path)
    assert min(found.multiply_adds["fp16"], found.weights["fp16"]) > 0.95
    (got,) = run_rounded(read_graph(bundle.onnx), [pixels()])
    assert np.abs(got["probabilities"] - expected(file, pixels())).max() < 0.005


def test_what_cannot_be_half_precision_is_named_with_its_list(here: Path) -> None:
    net = Net()
    net.weights["c1.w"] *= 1e6  # what comes behind is beyond float16, up to the last product
    net.weights["f.w"] *= 1e-6
    file = net.save(here / "net.onnx")
    with pytest.raises(ExportError, match=r"a2_n \(fp32: .* reaches .*, float16 ends at 6.55e\+04"):
        dlkit.export(file, "fp16", **CLASSES)
    assert not list(here.glob("*/model.json"))
    done = command("export", "net.onnx", "--precision", "fp16")
    assert done.exit_code == 1
    nodes = [one["node"] for one in json.loads(Path("net-keep-fp32.json").read_text())["keep_fp32"]]
    assert {"a2_n", "logits_n"} <= set(nodes)
    # bfloat16 reaches as far as float32
    assert dlkit.export("net.onnx", "bf16", **CLASSES).origin["left_fp32"] == {}


def test_activations_that_float16_cannot_hold(here: Path) -> None:
    net = Net()
    net.weights |= {"up": np.array(1e6, np.float32), "down": np.array(1e-6, np.float32)}
    net.replace(
        "r1",
        node("Mul", ["a1", "up"], "high"),
        node("Relu", ["high"], "big"),
        node("Mul", ["big", "down"], "r1"),
    )
    file = net.save(here / "net.onnx")
    bundle = dlkit.export(file, "fp16", **CLASSES)
    assert set(bundle.origin["left_fp32"]) >= {"high_n", "big_n", "r1_n"}
    assert bundle.origin["share"] == {"multiply_adds": 1.0, "weights": pytest.approx(1, abs=0.01)}
    (got,) = run_rounded(read_graph(bundle.onnx), [pixels()])
    assert np.abs(got["probabilities"] - expected(file, pixels())).max() < 0.005
    shown = command("export", file, "--precision", "fp16", "--out", "again").output
    assert "left in fp32: high_n: up reaches 1e+06" in " ".join(shown.split())


def test_a_mixture_is_called_nothing(here: Path) -> None:
    net = Net()
    for name in ("c2.w", "c2.b"):
        net.weights[name] = net.weights[name].astype(np.float16)
    conv = net.nodes[5]
    conv.input[0], conv.output[0] = "half", "narrow"
    place = net.nodes.index(conv)
    net.nodes.insert(place, node("Cast", ["r1"], "half", to=TensorProto.FLOAT16))
    net.nodes.insert(place + 2, node("Cast", ["narrow"], "a2", to=FLOAT))
    net.save(here / "net.onnx")
    with pytest.raises(ExportError, match="is a mixture"):
        dlkit.export("net.onnx")
    Path("keep.json").write_text(
        json.dumps({"keep_fp32": [{"node": "a1_n"}, {"node": "logits_n"}]})
    )
    done = command("export", "net.onnx", "--keep-fp32", "keep.json")
    assert done.exit_code == 0, done.output
    assert Bundle.open("net-bundle-fp16").spec.precision == "fp16"


# --- pixels ---


def colour_net(channels_last: bool = False, opset: int = 17, gives: str = "logits") -> bytes:
    """float32 (1, 3, 20, 24) to 4 logits."""
    random = np.random.default_rng(6)
    weights = {"w": weight(random, 6, 3, 3, 3), "f": weight(random, 6, 4)}
    shape = [1, 20, 24, 3] if channels_last else [1, 3, 20, 24]
    nodes = [node("Transpose", ["image"], "x", perm=[0, 3, 1, 2])] if channels_last else []
    first = "x" if channels_last else "image"
    nodes += [
        node("Conv", [first, "w"], "a", strides=[2, 2]),
        node("Relu", ["a"], "r"),
        node("GlobalAveragePool", ["r"], "pooled"),
        node("Flatten", ["pooled"], "flat", axis=1),
        node("MatMul", ["flat", "f"], gives),
    ]
    if gives != "logits":
        nodes.append(node("LogSoftmax", [gives], "logits", axis=1))
    graph = helper.make_graph(
        nodes, "colour", [value("image", FLOAT, shape)], [value("logits", FLOAT, [1, 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("colour", [long("rgb"), "bgr"])
@pytest.mark.parametrize("gives", ["logits", long("raw")])
def test_pixels_are_put_into_the_graph(last: bool, colour: str, gives: str, here: Path) -> None:
    Path("net.onnx").write_bytes(colour_net(last, opset=11, gives=gives))
    Path("names.txt").write_text("a\nb\nc\nd\n")
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    done = command(
        "export", "net.onnx", "--task", "recognize", "--labels", "names.txt", "--colour", colour,
        "--mean", "0.4,0.5,0.6", "--std", "0.2,0.25,0.3", "--out", "b",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    bundle = Bundle.open("b")
    assert str(bundle.spec.input) == "image uint8 (1, 20, 24, 3)"
    images = np.random.default_rng(7).integers(0, 256, (3, 20, 24, 3), dtype=np.uint8)
    wanted = []
    for image in images:  # BGR, as people have them
        ordered = image if colour == "bgr" else image[..., ::-1]
        taken = ((ordered / 255 - mean) / std).astype(np.float32)[None]
        given = {"image": taken if last else taken.transpose(0, 3, 1, 2)}
        logits = torch.from_numpy(expected(Path("net.onnx"), given))
        wanted.append((logits.exp() if gives == "raw" else logits.softmax(1)).numpy()[0])
    with dlkit.load("b", task="recognize") as model:
        answers = model.recognize(list(images))
    for answer, row in zip(answers, wanted, strict=True):
        assert answer.label == "abcd"[row.argmax()]
        assert answer.probability == pytest.approx(row.max(), abs=1e-5)
    # the file itself, with its preparation done in numpy, is what it is compared with
    data = {"image": np.random.default_rng(8).integers(0, 256, (120, 20, 24, 3), dtype=np.uint8)}
    found = dlkit.verify(bundle, data=data)
    assert (found.reference.name, found.inputs.count) == ("onnxruntime fp32, net.onnx", 120)


def test_pixels_that_do_not_fit(here: Path) -> None:
    Path("net.onnx").write_bytes(colour_net())
    Net().save(here / "digits.onnx")
    pixels_of = dlkit.Pixels
    for file, options, message in (
        ("net.onnx", {"task": "recognize"}, "expected uint8 pixels.*--colour"),
        ("net.onnx", {"pixels": pixels_of("grey")}, "'grey', the network takes 3"),
        ("net.onnx", {"pixels": pixels_of(mean=(1, 2))}, "expected 3 value"),
        ("net.onnx", {"pixels": pixels_of(std=(0,))}, "std above 0"),
        ("net.onnx", {"pixels": pixels_of(scale=0)}, "scale is 0"),
        ("net.onnx", {"task": "denoise", "pixels": pixels_of()}, r"expected images \(N, C, H, W\)"),
        ("net.onnx", {"task": "recognize", "pixels": pixels_of(), "labels": ["a"]}, "1 labels"),
        ("digits.onnx", {"pixels": pixels_of()}, "0 inputs with four axes"),
        ("net.onnx", {"example": (3, 10, 10)}, "the example is 3x10x10"),
    ):
        with pytest.raises(DlkitError, match=message):
            dlkit.export(file, **options)
    assert not list(here.glob("*/model.json"))


def test_a_network_that_gives_images(here: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU(), nn.Conv2d(4, 1, 3, 1, 1)).eval()
    axes = {0: "n", 2: "h", 3: "w"}
    warnings.simplefilter("ignore")  # the old exporter is deprecated, and still used
    torch.onnx.export(
        net,
        (torch.zeros(1, 1, 16, 16),),
        "net.onnx",
        dynamo=False,
        dynamic_axes={"x": axes, "y": axes},
        input_names=["x"],
        output_names=["y"],
    )
    bundle = dlkit.export("net.onnx", "fp16", task="denoise", pixels=dlkit.Pixels())
    assert str(bundle.spec.input) == "x uint8 (n, h, w)"
    assert (bundle.spec.output.dtype, len(bundle.spec.output.shape)) == ("uint8", 3)
    image = np.random.default_rng(9).integers(0, 256, (30, 21), dtype=np.uint8)
    with torch.inference_mode():
        wanted = net(torch.from_numpy(image)[None, None] / 255).clamp(0, 1)[0, 0] * 255
    with dlkit.load(bundle, task="denoise") as model:
        (got,) = model.denoise([image])
    assert np.abs(got - wanted.numpy()).max() < 1.5
    feeds = [{"x": np.roll(image, one)[None]} for one in range(4)]
    assert dlkit.verify(bundle, data=feeds).reference.name == "onnxruntime fp32, net.onnx"
