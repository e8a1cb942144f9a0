"""Any module in torch, and any ONNX file, into a bundle; what it is compared with."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import Tensor, nn
from typer.testing import CliRunner

import dlkit
from dlkit.bundle import Bundle, sha256
from dlkit.cli import app
from dlkit.errors import BundleError, DlkitError, ExportError, UsageError, VerifyError
from dlkit.export.api import export, verify
from dlkit.export.load_module import load_module
from dlkit.export.pixels import Pixels
from dlkit.export.trace import trace
from dlkit.graph import multiply_adds
from dlkit.spec import ModelSpec, TensorSpec


class Two(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 5), nn.Linear(3, 5)

    def forward(self, wide: Tensor, narrow: Tensor) -> tuple[Tensor, Tensor]:
        both = self.first(wide) + self.second(narrow)
        return both, torch.relu(both).sum(1)


def classifier(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 4)).eval()


def halving(seed: int = 0) -> nn.Module:
    """Takes even heights and widths."""
    torch.manual_seed(seed)
    up = nn.ConvTranspose2d(8, 1, 4, 2, 1)
    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), up).eval()


FACTORY = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

def sized(classes):
    return build()

def nothing():
    return 3

READY = build()
DOUBLE = build().double()
"""
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 48, 3), dtype=np.uint8)


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_pixels_go_in_and_probabilities_come_out(here: Path) -> None:
    module, labels = classifier(), ["a", "b", "c", "d"]
    bundle = export(
        module,
        example=(3, 32, 48),
        task="recognize",
        labels=labels,
        pixels=dlkit.Pixels(mean=MEAN, std=STD),
        name="mine",
    )
    assert bundle.path == Path("mine-fp32")
    assert str(bundle.spec.input) == "pixels uint8 (n, 32, 48, 3)"
    assert bundle.spec.colour == "rgb"
    pixels = images(5)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.inference_mode():
        expected = module(x).softmax(1).numpy()
    with dlkit.load(bundle.path, task="recognize") as model:
        assert np.allclose(model.opened.session(pixels), expected, atol=1e-5)
        # people have BGR
        (answer,) = model.recognize([pixels[0, :, :, ::-1]])
    assert answer.label == labels[expected[0].argmax()]
    assert answer.probability == pytest.approx(expected[0].max(), abs=1e-5)


class ByHand(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        powers = logits.exp()
        return powers / powers.sum(1, keepdim=True)


@pytest.mark.long
@pytest.mark.parametrize(
    "end",
    [nn.Softmax(1), nn.Sigmoid(), nn.LogSoftmax(1), nn.Sequential(nn.Softmax(1), nn.Flatten()),
     ByHand()],
)  # fmt: skip
def test_probabilities_are_not_made_twice(end: nn.Module, here: Path) -> None:
    module = nn.Sequential(*classifier(), end)
    bundle = export(module, example=(3, 32, 48), task="recognize", name="own")
    pixels = images(5)
    with torch.inference_mode():
        expected = module(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)
    if isinstance(end, nn.LogSoftmax):
        expected = expected.exp()
    with dlkit.load(bundle, task="recognize") as model:
        assert np.allclose(model.opened.session(pixels), expected.numpy(), atol=1e-5)
    verify(bundle, module, images(100))


def test_several_inputs_and_outputs(here: Path) -> None:
    module = Two().eval()
    example = (torch.randn(1, 8), torch.randn(1, 3))
    bundle = export(module, example=example)
    assert [str(one) for one in bundle.spec.inputs] == [
        "wide float32 (n, 8)", "narrow float32 (n, 3)",
    ]  # fmt: skip
    assert [str(one) for one in bundle.spec.outputs] == [
        "output_0 float32 (n, 5)", "output_1 float32 (n)",
    ]  # fmt: skip
    random = np.random.default_rng(1)
    feeds = {
        "wide": random.standard_normal((100, 8), np.float32),
        "narrow": random.standard_normal((100, 3), np.float32),
    }
    with torch.inference_mode():
        expected = module(*(torch.from_numpy(feeds[name]) for name in ("wide", "narrow")))
    with dlkit.load(bundle.path, task="tensors") as model:
        got = model.run(feeds)
    assert np.allclose(got["output_0"], expected[0].numpy(), atol=1e-5)
    assert np.allclose(got["output_1"], expected[1].numpy(), atol=1e-5)
    found = verify(bundle, module, feeds)
    assert (found.inputs.count, found.reference.name) == (100, "torch fp32, Two")
    half = export(bundle, "fp16")
    assert half.path == Path("two-fp16")
    kinds = {one.data_type for one in onnx.load(half.onnx).graph.initializer}
    assert kinds == {TensorProto.FLOAT16, TensorProto.INT64}  # weights, and an axis
    against = verify(half, data=feeds).reference  # the float32 bundle beside it
    assert (against.name, against.sha256) == ("onnxruntime fp32, two-fp32", bundle.sha256)
    with pytest.raises(DlkitError, match="expected wide float32"):
        verify(bundle, module, {"wide": feeds["wide"]})
    assert multiply_adds(bundle.onnx, {"wide": (6, 8), "narrow": (6, 3)}) == 6 * 5 * 11
    assert multiply_adds(bundle.onnx, {"wide": (6, 8)}) is None


@pytest.mark.long
def test_nothing_is_compared_with_itself(here: Path) -> None:
    bundle = export(
        classifier(), example=(3, 32, 48), task="recognize", labels=["a", "b", "c", "d"], name="one"
    )
    with pytest.raises(VerifyError, match=r"nothing independent.*made of no recipe.*--against RUN"):
        verify(bundle, data=images(100))
    for itself in (bundle, bundle.onnx, str(bundle.path)):
        with pytest.raises(UsageError, match="compared with itself"):
            verify(bundle, itself, images(100))
    assert Bundle.open(bundle.path).certificate is None
    assert verify(bundle, classifier(), images(100)).reference.name == "torch fp32, Sequential"
    with pytest.raises(VerifyError, match="out of tolerance"):
        verify(bundle, classifier(seed=1), images(100))
    assert Bundle.open(bundle.path).certificate is not None  # another network says nothing of it


def test_a_reference_that_gives_nan_is_none(here: Path) -> None:
    bundle = export(nn.Linear(3, 2), example=(3,), name="one")
    broken = nn.Linear(3, 2)
    nn.init.constant_(broken.weight, float("nan"))
    with pytest.raises(VerifyError, match="reference gives NaN"):
        verify(bundle, broken, np.arange(300, dtype=np.float32).reshape(100, 3))


@pytest.mark.long
def test_modules_that_are_named_with_their_weights(here: Path) -> None:
    Path("nets.py").write_text(FACTORY)
    Path("names.txt").write_text("a\nb\n\nc\nd\n")
    trained = classifier(seed=3)
    save_file(trained.state_dict(), "w.safetensors")
    torch.save({"state_dict": trained.state_dict()}, "w.pt")
    np.savez("arrays.npz", pixels=images(120))
    made = []
    for weights in ("w.safetensors", "w.pt"):
        options = ("--example", "3x32x48", "--task", "recognize", "--labels", "names.txt",
                   "--mean", "0.5,0.4,0.3", "--std", "0.25", "--name", weights[-2:])  # fmt: skip
        done = command("export", "nets.py:build", "--weights", weights, *options)
        assert done.exit_code == 0, done.output
        made.append(Bundle.open(f"{weights[-2:]}-fp32"))
        next_step = f"--against nets.py:build --weights {weights} --data HELD_OUT"
        assert next_step in " ".join(done.output.split())
    one, other = made
    assert one.spec.labels == ("a", "b", "c", "d")
    assert one.origin["module_sha256"] == other.origin["module_sha256"]
    assert one.origin["meaning"]["std"] == [0.25] * 3
    found = verify(one, "nets.py:build", images(100), weights="w.safetensors")
    assert found.reference.sha256 == one.origin["module_sha256"]
    without = r"out of tolerance.*the certificate that is there is kept.*other weights.*--weights"
    with pytest.raises(VerifyError, match=without):
        verify(one, "nets.py:build", images(100))  # without its weights it is another network


def test_a_module_is_found_in_the_folder_where_the_command_runs(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (here / "own_package").mkdir()
    (here / "own_package" / "nets.py").write_text(FACTORY)
    (here / "elsewhere").mkdir()
    with monkeypatch.context() as gone:
        gone.chdir(here / "elsewhere")
        done = command("export", "own_package.nets:build", "--example", "3x32x48")
        assert "no module own_package" in str(done.exception)
    done = command("export", "own_package.nets:build", "--example", "3x32x48")
    assert done.exit_code == 0, done.output
    said = "weights: as own_package.nets:build gives them; --weights FILE loads others"
    assert said in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        ("nets.py:sized", {}, UsageError, "without arguments"),
        ("nets.py:nothing", {}, UsageError, r"gives int, expected a torch\.nn\.Module"),
        ("nets.py:missing", {}, UsageError, "missing"),
        ("nosuch.nets:build", {}, UsageError, "no module nosuch"),
        ("nets.py:READY", {"example": None}, UsageError, "what it takes"),
        ("nets.py:READY", {"weights": "none.pt"}, UsageError, "no file none.pt"),
        ("nets.py:READY", {"weights": "nets.py"}, ExportError, "no weights that can be read"),
        ("nets.py:READY", {"weights": "other.pt"}, ExportError, "does not fit Sequential"),
        ("nets.py:READY", {"example": (1, 32, 48)}, ExportError, "does not take float32"),
        ("nets.py:READY", {"example": (0, 3)}, UsageError, "the shape of one sample"),
        ("nets.py:READY", {"example": (3, 32)}, ExportError, "does not take"),
        ("nets.py:DOUBLE", {}, ExportError, r"torch\.float64.*module\.float\(\)"),
        (
            "nets.py:READY",
            {"pixels": Pixels(mean=(0.5, 0.5))},
            UsageError,
            r"expected 3 value\(s\)",
        ),
        ("nets.py:READY", {"pixels": Pixels(std=(0.0,))}, UsageError, "std above 0"),
        ("nets.py:READY", {"labels": ["a", "b"]}, BundleError, "2 labels.* 4 classes"),
        ("nets.py:READY", {"task": "nosuch"}, UsageError, "unknown task"),
        ("nets.py:READY", {"task": "tensors"}, UsageError, "are for images"),
        ("nets.py:READY", {"precision": "fp8"}, UsageError, "unknown precision"),
        ("nets.py:READY", {"spec": "spec.json"}, UsageError, "belongs to an ONNX file"),
        ("digits", {}, UsageError, "these are for a module"),
    ],
)
def test_modules_that_cannot_be(
    source: str, options: dict[str, Any], error: type[DlkitError], words: str, here: Path
) -> None:
    Path("nets.py").write_text(FACTORY)
    torch.save(halving().state_dict(), "other.pt")
    settings = {"example": (3, 32, 48), "task": "recognize", "labels": list("abcd"), **options}
    with pytest.raises(error, match=words):
        export(source, **settings)
    assert {path.name for path in here.iterdir()} <= {"nets.py", "other.pt", "__pycache__"}


def test_weights_never_run_code(here: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (Path("ran"),))

    torch.save({"0.weight": Evil()}, "evil.pt")
    Path("nets.py").write_text(FACTORY)
    with pytest.raises(ExportError, match="no weights that can be read"):
        export("nets.py:build", example=(3, 32, 48), task="recognize", weights="evil.pt")
    assert not Path("ran").exists()


@pytest.mark.parametrize("kind", [torch.int8, torch.int64, torch.complex64, torch.bool])
def test_weights_that_are_no_floating_point_numbers_are_refused(
    kind: torch.dtype, here: Path
) -> None:
    Path("nets.py").write_text(FACTORY)
    state = classifier().state_dict()
    torch.save({**state, "0.weight": torch.zeros_like(state["0.weight"], dtype=kind)}, "w.pt")
    with pytest.raises(ExportError, match=f"0.weight holds {kind}, expected torch.float32"):
        load_module("nets.py:build", "w.pt")


@pytest.mark.long
def test_sizes_that_a_network_cannot_keep_are_said(here: Path) -> None:
    with pytest.raises(ExportError, match=r"height is 17.*--multiple-of"):
        export(halving(), example=(1, 32, 48), task="denoise", name="odd")
    bundle = export(halving(), example=(1, 32, 48), task="denoise", name="even", multiple_of=2)
    assert bundle.spec.multiple_of == 2
    scans = np.random.default_rng(0).integers(0, 256, (4, 34, 50), dtype=np.uint8)
    assert verify(bundle, halving(), scans).inputs.count == 4
    with dlkit.load(bundle.path, task="denoise") as model:
        assert model.denoise([scans[0, :33, :49]])[0].shape == (33, 49)


class Twice(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


@pytest.mark.long
def test_larger_images_come_out(here: Path) -> None:
    bundle = export(Twice(), example=(3, 32, 48), task="denoise", name="twice")
    assert bundle.spec.scale == 2
    image = images(1)[0]
    with dlkit.load(bundle.path, task="denoise") as model:
        (large,) = model.denoise([image])
    assert (large == image.repeat(2, 0).repeat(2, 1)).all()


def test_control_flow_that_no_graph_holds_is_said(here: Path) -> None:
    class Choosy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.sum().item() > 0 else x

    with pytest.raises(ExportError, match=r"choosy cannot be exported.*forward must be one graph"):
        export(Choosy(), example=(3,))
    assert list(here.iterdir()) == []


@pytest.mark.long
def test_a_spec_that_the_graph_is_not_is_refused() -> None:
    inputs = (TensorSpec("x", "float32", ("n", 3)),)
    for outputs, words in (
        ((TensorSpec("y", "float32", ("n", 3)),), "its spec says"),
        ((TensorSpec("y", "uint8", ("n", 2)),), "its spec says"),
        ((TensorSpec("y", "float32", ("n", 2, 1)),), "its spec says"),
    ):
        spec = ModelSpec("one", "tensors", "fp32", inputs, outputs)
        with pytest.raises(ExportError, match=words):
            trace(nn.Linear(3, 2), spec)


@pytest.mark.long
def test_one_name_is_one_size() -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    both = tuple(TensorSpec(name, "float32", ("n", "length")) for name in "xy")
    spec = ModelSpec(
        "sum",
        "tensors",
        "fp32",
        both,
        (TensorSpec("z", "float32", ("n", "length")),),
        multiple_of=4,
    )
    graph = trace(Sum(), spec).graph
    first, second = (value.shape for value in graph.inputs)
    assert first is not None
    assert second is not None
    assert str(first) == str(second)
    assert not any(isinstance(size, int) for size in first)


def product(path: Path) -> Path:
    """An ONNX file that somebody else made: a matrix product, any batch."""
    weight = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "w"], ["b"], name="product")],
        "graph",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, ["rows", 3])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.long
def test_an_onnx_file_alone_serves_arrays(here: Path) -> None:
    file = product(here / "theirs.onnx")
    full = export(file)
    assert full.path == here / "theirs-bundle-fp32"
    assert [str(one) for one in full.spec.inputs] == ["a float32 (rows, 4)"]
    with pytest.raises(VerifyError, match="the same graph"):
        verify(full, data="random")
    full.copy(here / "elsewhere" / "full")
    shutil.rmtree(full.path)
    half = export(file, "fp16", here / "half")
    found = verify(half, data="random")  # the file beside it
    assert (found.reference.name, found.reference.sha256) == (
        "onnxruntime fp32, theirs.onnx", sha256(file),
    )  # fmt: skip
    assert found.inputs.random
    assert {row.backend for row in found.measured} >= {"onnxruntime", "rounded"}
    alone = half.copy(here / "elsewhere" / "half")
    beside = verify(alone, data="random").reference  # the bundle of the same file beside it
    assert (beside.name, beside.sha256) == ("onnxruntime fp32, full", sha256(file))
    shutil.rmtree(here / "elsewhere" / "full")
    with pytest.raises(VerifyError, match="no float32 graph beside it"):
        verify(alone, data="random")
    assert verify(alone, file, "random").reference == found.reference
    with pytest.raises(UsageError, match="fp16, not float32"):
        verify(export(file, out=here / "again"), half.onnx, "random")


def test_arrays_of_a_folder_calibrate_int8(here: Path) -> None:
    random = np.random.default_rng(0)
    (here / "calls").mkdir()
    for index in range(4):
        np.save(here / "calls" / f"{index}.npy", random.uniform(-1, 1, (64, 4)).astype(np.float32))
    file = product(here / "theirs.onnx")
    with pytest.raises(UsageError, match="none were named"):
        export(file, "int8", here / "low")
    low = export(file, "int8", here / "low", data=str(here / "calls"))
    kinds = {one.data_type for one in onnx.load(low.onnx).graph.initializer}
    assert TensorProto.INT8 in kinds
    report = low.origin["int8"]
    assert (report["calibration"]["count"], report["validation"]["count"]) == (128, 128)
    others = random.uniform(-1, 1, (100, 4)).astype(np.float32)
    assert verify(low, data=others).reference.name == "onnxruntime fp32, theirs.onnx"


def test_a_file_that_is_no_onnx_file_and_specs_that_are_none(here: Path) -> None:
    file = product(here / "theirs.onnx")
    (here / "text.onnx").write_text("no graph")
    with pytest.raises(ExportError, match="no ONNX file"):
        export("text.onnx")
    for text, words in (("{", "cannot be read as JSON"), ("[]", "expected an object")):
        (here / "spec.json").write_text(text)
        with pytest.raises(UsageError, match=words):
            export(file, spec="spec.json")
    spec = export(file).spec.to_json()
    spec["inputs"][0]["name"] = "other"
    (here / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(ExportError, match="has the inputs a, its spec other"):
        export(file, spec="spec.json")


def test_a_plug_in_that_is_not_here_is_named(here: Path) -> None:
    source = Bundle.open("digits")
    recipe = dict(source.origin["recipe"])
    recipe["network"] = {**recipe["network"], "architecture": "nosuch.nets:TINY"}
    bundle = Bundle.create(
        here / "b", source.onnx.read_bytes(), source.spec, {**source.origin, "recipe": recipe}
    )
    with pytest.raises(VerifyError, match=r"'nosuch\.nets:TINY'.*there is no module nosuch"):
        verify(bundle)


def test_half_outputs_of_a_graph_stay_float32(here: Path) -> None:
    half = export(product(here / "theirs.onnx"), "fp16", here / "half")
    graph = ir.load(half.onnx).graph
    assert graph.outputs[0].dtype == ir.DataType.FLOAT
    assert graph.outputs[0].name == "b"
    assert [node.op_type for node in graph] == ["Cast", "MatMul", "Cast"]


class Counts(nn.Module):
    """Changes a buffer, holds a part that is not trained, and can fail."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.frozen = nn.Dropout(), nn.BatchNorm1d(3).eval()
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.seen + x.shape[0]
        self.frozen.running_mean.add_(1)  # type: ignore[union-attr,operator]
        return self.trained(x)


@pytest.mark.parametrize("example", [(3,), (4, 5, 6)], ids=["taken", "an error"])
def test_a_module_and_its_modes_stay_as_they_were(example: tuple[int, ...], here: Path) -> None:
    module = Counts().train()
    module.frozen.eval()
    buffer, drawn = module.seen, torch.random.get_rng_state()
    try:
        export(module, example=example, name="counts")
    except ExportError:
        assert example != (3,)
    assert (module.training, module.trained.training, module.frozen.training) == (True, True, False)
    assert module.seen is buffer
    assert (float(buffer), buffer.is_inference()) == (0, False)
    assert (module.frozen.running_mean == 0).all()
    assert (torch.random.get_rng_state() == drawn).all()


class Noisy(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "dropout":
            return nn.functional.dropout(x, 0.5)  # whether it is trained or not
        if self.kind == "noise":
            return x + torch.randn_like(x)
        self.count += 1
        return x * self.count


@pytest.mark.parametrize("kind", ["dropout", "noise", "state"])
def test_what_answers_differently_each_time_is_refused(kind: str, here: Path) -> None:
    with pytest.raises(ExportError, match=r"differently each time.*self\.training"):
        export(Noisy(kind), example=(64,))


def test_graphs_that_draw_random_numbers_are_said(here: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy")
    nodes = [helper.make_node("RandomNormalLike", ["x"], ["r"], "noise"),
             helper.make_node("Add", ["x", "r"], ["y"], "add")]  # fmt: skip
    graph = helper.make_graph(nodes, "noisy", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), "noisy.onnx")
    done = command("export", "noisy.onnx")
    assert done.exit_code == 0, done.output
    said = "answers differently each time: noise (RandomNormalLike) draw random numbers"
    assert said in " ".join(done.output.split())


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(1, 3))])
def test_torchscript_is_refused(make: Any, here: Path) -> None:
    for module in (make(nn.Linear(3, 2)), nn.Sequential(make(nn.Linear(3, 2)))):
        with pytest.raises(ExportError, match=r"TorchScript.*the nn\.Module that it was made from"):
            export(module, example=(3,))


def test_a_loop_over_the_batch_is_said_and_nothing_else(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Loop(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[n] * 2 for n in range(x.shape[0])])

    class Choosy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.mean() > 0 else x

    with pytest.raises(ExportError, match=r"its spec says x .*compute on whole tensors"):
        export(Loop(), example=(3,))
    with pytest.raises(ExportError, match="choosy cannot be exported"):
        export(Choosy(), example=(3,))
    assert capfd.readouterr() == ("", "")  # torch prints the graphs that it has so far


def test_a_factory_that_ends_the_program_is_an_error(here: Path) -> None:
    Path("leaves.py").write_text("import sys\n\ndef build():\n    sys.exit(0)\n")
    done = command("export", "leaves.py:build", "--example", "3x8x8")
    assert isinstance(done.exception, UsageError)
    assert re.search(
        r"fails while it is called: SystemExit: 0 .*leaves\.py, line 4", str(done.exception)
    )


@pytest.mark.parametrize(
    "kind", ["module.", "_orig_mod.", "_orig_mod.module.", "in model", "in net"]
)
def test_weights_are_found_as_trainings_save_them(kind: str, here: Path) -> None:
    Path("nets.py").write_text(FACTORY)
    wanted = load_module("nets.py:build").state_dict()
    changed = {name: one + 1 for name, one in wanted.items()}
    if kind.startswith("in "):
        optimizer = {"state": {0: {"step": torch.ones(())}}, "param_groups": []}
        torch.save({kind[3:]: changed, "optimizer": optimizer, "epoch": 3}, "w.pt")
    else:
        torch.save({kind + name: one for name, one in changed.items()}, "w.pt")
    found = load_module("nets.py:build", "w.pt").state_dict()
    assert all(torch.equal(found[name], one) for name, one in changed.items())


def test_weights_that_are_not_found_are_said(here: Path) -> None:
    Path("nets.py").write_text(FACTORY)
    weights = classifier().state_dict()
    for held, words in (
        ({"net": weights, "ema": weights}, r"holds net, ema: 2 state dicts \(net, ema\)"),
        ({"epoch": 3, "lr": 0.1}, "holds epoch, lr: none of them"),
        ([1], "holds list, expected a state dict"),
        (classifier(), r"no file of torch, or holds more than tensors"),
    ):
        torch.save(held, "w.pt")
        with pytest.raises(ExportError, match=words) as refused:
            load_module("nets.py:build", "w.pt")
        assert "weights_only" not in str(refused.value)  # torch's advice would run code
