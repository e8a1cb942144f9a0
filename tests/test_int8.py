"""int8: what the file holds, on what it was calibrated, what is left out, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from dlkit.bundle import Bundle
from dlkit.cli import app
from dlkit.errors import ExportError, InputError, UsageError
from dlkit.export import engine
from dlkit.export.api import build_engine, export, verify
from dlkit.export.proof.verify import measure
from dlkit.runtime.session import open_session, runnable
from dlkit.tasks import TASKS, Tolerance
from dlkit.tasks.denoise import task as denoise
from dlkit.tasks.denoise.pairs import HELD_OUT_SEED, simulate_pairs
from dlkit.tasks.recognize.datasets import load_labelled

from .conftest import Once

pytestmark = pytest.mark.long

Bundles = Callable[[str, str], Bundle]
SHIPPED = ["digits", "mmwave"]


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory, once: Once) -> Callable[[str], Bundle]:
    """Gives a shipped bundle in int8, made by the command line, once."""
    folder = tmp_path_factory.mktemp("int8")

    def get(name: str) -> Bundle:
        def make(part: Path) -> None:
            done = dlkit("export", name, "--precision", "int8", "--out", part / name)
            assert done.exit_code == 0, done.output
            (part / "output.txt").write_text(done.output)

        target = folder / f"int8-{name}"
        if not target.exists():
            once(target.name, target, make)
        return Bundle.open(target / name)

    return get


def initializers(graph: onnx.GraphProto) -> dict[str, Any]:
    return {one.name: numpy_helper.to_array(one) for one in graph.initializer}


# Of the shipped digits, a ResNet-18, as the graph has them; a block that halves has a third one.
FIRST_OF_BLOCKS = (1, 3, 5, 8, 10, 13, 15, 18)


def layers(bundle: Bundle) -> list[str]:
    """Names of the convolutions and matrix products."""
    graph = onnx.load(str(bundle.onnx)).graph
    return [node.name for node in graph.node if node.op_type in ("Conv", "Gemm")]


def outliers(bundle: Bundle, folder: Path, *layers: int) -> Path:
    """A float32 ONNX file of the digits; the given layers put out a few channels 10,000 times too
    large.

    The next layer undoes it, and ReLU commutes with a positive factor: the graph computes what it
    did. But eight bits for all channels together leave the other channels none. Layers must be the
    first of a residual block: nobody but the next one reads them.
    """
    factor = np.float32(1e4)
    model = onnx.load(str(bundle.onnx))
    tensors = {one.name: one for one in model.graph.initializer}
    names = [
        [node.input[1], node.input[2]]
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm")
    ]
    for layer in layers:
        weight, bias = (numpy_helper.to_array(tensors[name]).copy() for name in names[layer])
        few = len(weight) // 12
        weight[:few] *= factor
        bias[:few] *= factor
        following = numpy_helper.to_array(tensors[names[layer + 1][0]]).copy()
        columns = following.shape[1] // weight.shape[0]  # a channel may have become several
        following[:, : few * columns] /= factor
        changed = {names[layer][0]: weight, names[layer][1]: bias, names[layer + 1][0]: following}
        for name, array in changed.items():
            tensors[name].CopyFrom(numpy_helper.from_array(array, name))
    path = folder / "outliers.onnx"
    onnx.save(model, path)
    (folder / "spec.json").write_text(json.dumps(bundle.spec.to_json()))
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_the_file_holds_eight_bit_weights(name: str, int8: Callable[[str], Bundle]) -> None:
    full, low = Bundle.open(name), int8(name)
    assert low.spec.precision == "int8"
    assert low.onnx.stat().st_size < 0.4 * full.onnx.stat().st_size
    graph = onnx.load(str(low.onnx)).graph
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    arrays = initializers(graph)
    makers = {node.output[0]: node for node in graph.node}
    left = set(low.origin["int8"]["left_fp32"])
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert {node.name for node in layers if node.name in left} == left
    quantised = [node for node in layers if node.name not in left]
    assert quantised
    for node in quantised:
        activation, weight = (makers[name] for name in node.input[:2])
        assert activation.op_type == weight.op_type == "DequantizeLinear"
        assert makers[activation.input[0]].op_type == "QuantizeLinear"
        assert arrays[weight.input[0]].dtype == np.int8
        assert arrays[weight.input[1]].size == arrays[weight.input[0]].shape[0]  # per channel
        assert arrays[node.input[2]].dtype == np.float32  # the bias
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero_point = arrays[node.input[2]]
            assert zero_point.dtype == np.int8
            assert not zero_point.any()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_bundles_lose_no_more_than_is_stated(
    name: str, int8: Callable[[str], Bundle]
) -> None:
    low = int8(name)
    found = verify(low)
    assert found.reference.name == f"torch fp32, the weights of {name}"
    assert {row.backend for row in found.measured} == {backend for backend, _ in runnable(low)}
    stated = {"digits": {"accuracy": 0.001}, "mmwave": {"psnr": 0.1, "ssim": 0.002}}[name]
    for row in found.measured:
        assert row.mean > 0  # it is another network than float32
        for metric, loss in stated.items():
            assert row.metrics[metric] >= found.reference.metrics[metric] - loss


@pytest.mark.parametrize("name", SHIPPED)
def test_the_same_file_is_an_int8_engine(name: str, int8: Callable[[str], Bundle]) -> None:
    proof = build_engine(int8(name)).proof
    assert proof["precision"] == "int8"
    share = int8(name).origin["int8"]["share"]
    assert proof["multiply_adds"]["int8"] == pytest.approx(share, abs=0.02)
    assert set(proof["others"]) == set(int8(name).origin["int8"]["left_fp32"])


def test_float32_is_no_int8_engine(bundle_of: Bundles) -> None:
    with pytest.raises(ExportError, match="asked for int8"):
        engine.build_engine(bundle_of("lenet", "fp32"), precision="int8")


@pytest.mark.parametrize("name", SHIPPED)
def test_report_says_how_it_was_made(name: str, int8: Callable[[str], Bundle]) -> None:
    low, full = int8(name), Bundle.open(name)
    report = low.origin["int8"]
    assert report["library"].startswith("onnxruntime 1.")
    assert "training" in report["calibration"]["name"]
    assert report["calibration"]["sha256"] != report["validation"]["sha256"]
    assert set(report["validation"]["int8"]) == {backend for backend, _ in runnable(low)}
    for key in ("checkpoint_sha256", "recipe", "dataset"):
        assert low.origin[key] == full.origin[key]
    assert low.origin["kept_fp32"] == []
    text = (low.path.parent / "output.txt").read_text()
    assert "of the multiply-adds in int8" in text
    assert "int8 on onnxruntime: " in text


def test_digits_that_calibrate_are_training_digits() -> None:
    digits = load_labelled("mnist-mini")
    bundle = Bundle.open("digits")
    inputs = TASKS.load("recognize").calibration(bundle.spec, bundle.origin, None, 0)

    def rows(batches: Any) -> set[bytes]:
        return {image.tobytes() for feeds in batches for image in feeds["pixels"]}

    ranges, loss = rows(inputs.batches), rows(inputs.validation.batches)
    training, test = (
        rows([{"pixels": part}]) for part in (digits.train_images, digits.test_images)
    )
    assert len(ranges) > 400
    assert len(loss) > 4000
    assert ranges | loss <= training
    assert not ranges & loss
    assert not (ranges | loss) & test


def test_scans_that_calibrate_have_training_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def spy(seeds: Any, size: Any, **options: Any) -> Any:
        seen.extend(seeds)
        return simulate_pairs(list(seeds)[:3], (64, 64), **options)

    monkeypatch.setattr(denoise, "simulate_pairs", spy)
    bundle, task = Bundle.open("mmwave"), TASKS.load("denoise")
    inputs = task.calibration(bundle.spec, {"recipe": {"seed": 3, "pairs": 2000}}, None, 0)
    assert seen
    assert all(30_000_000 <= seed < 30_002_000 for seed in seen)
    seen.clear()
    task.held_out(bundle.spec, {}, count=3)
    assert seen
    assert all(seed >= HELD_OUT_SEED for seed in seen)
    assert inputs.ranges.fingerprint() != inputs.validation.fingerprint()


def test_folders_keep_their_last_pairs_out(tmp_path: Path, bundle_of: Bundles) -> None:
    pairs = simulate_pairs(range(50, 58), (160, 96))
    for side, images in (("noisy", pairs.noisy), ("clean", pairs.clean)):
        (tmp_path / side).mkdir()
        for index, image in enumerate(images):
            cv2.imwrite(str(tmp_path / side / f"{index}.png"), image)
    bundle = bundle_of("denoiser", "fp32")
    origin = {"recipe": {"held_out": 3}}
    found = TASKS.load("denoise").calibration(bundle.spec, origin, str(tmp_path), 0)
    used = [*found.batches, *found.validation.batches]
    assert [one["pixels"][0].tobytes() for one in used] == [x.tobytes() for x in pairs.noisy[:5]]
    low = export(bundle, "int8", tmp_path / "out", data=str(tmp_path))
    assert low.origin["int8"]["calibration"]["name"] == f"{tmp_path.name}, training pairs"
    assert low.origin["int8"]["calibration"]["count"] == 1
    again = export(bundle, "int8", tmp_path / "less", data=str(fewer(tmp_path)))
    assert again.sha256 != low.sha256  # other images, other ranges


def fewer(folder: Path) -> Path:
    """A folder of the same pairs without the first two."""
    for side in ("noisy", "clean"):
        (folder / "fewer" / side).mkdir(parents=True)
        for index in range(2, 8):
            shutil.copy(folder / side / f"{index}.png", folder / "fewer" / side)
    return folder / "fewer"


def test_layers_that_lose_are_left_out(tmp_path: Path) -> None:
    """Only the layer that reads the planted channel cannot be in eight bits."""
    full = Bundle.open("digits")
    reader = layers(full)[FIRST_OF_BLOCKS[2] + 1]
    file = outliers(full, tmp_path, FIRST_OF_BLOCKS[2])
    said: list[str] = []
    low = export(
        file,
        "int8",
        tmp_path / "low",
        spec=tmp_path / "spec.json",
        data="mnist-mini",
        say=said.append,
    )
    report = low.origin["int8"]
    # how many others go with it depends on how the processor sums eight bits
    left = report["left_fp32"]
    assert reader in left
    assert len(left) <= len(layers(full)) // 3
    assert 0.5 <= report["share"] < 1
    assert any("alone in int8" in line for line in said)
    pixels = load_labelled("mnist-mini").test_images[:300]
    expected = open_session(Bundle.open("digits")).session(pixels).argmax(axis=1)
    for backend, device in runnable(low):
        got = open_session(low, backend, device).session(pixels).argmax(axis=1)
        assert (got == expected).mean() > 0.99
    assert set(build_engine(low).proof["others"]) == set(left)


def test_a_network_that_loses_too_much_is_refused(tmp_path: Path) -> None:
    file = outliers(Bundle.open("digits"), tmp_path, *FIRST_OF_BLOCKS)
    arguments = (
        "--spec", tmp_path / "spec.json", "--out", tmp_path / "low", "--data", "mnist-mini",
    )  # fmt: skip
    done = dlkit("export", file, "--precision", "int8", *arguments)
    assert isinstance(done.exception, ExportError)
    message = str(done.exception)
    assert "\n" not in message
    for part in ("fp32 has accuracy 0.99", "all layers in int8: accuracy 0.", "fp16", "0.00025"):
        assert part in message
    assert not (tmp_path / "low").exists()


def test_nodes_that_somebody_names_stay_fp32(tmp_path: Path) -> None:
    keep = tmp_path / "keep.json"
    names = layers(Bundle.open("digits"))
    chosen = [names[0], names[-1]]
    keep.write_text(json.dumps({"keep_fp32": [{"node": name} for name in chosen]}))
    out = tmp_path / "out"
    options = ("--precision", "int8", "--keep-fp32", keep, "--out", out)
    assert dlkit("export", "digits", *options).exit_code == 0
    low = Bundle.open(out)
    assert sorted(low.origin["kept_fp32"]) == sorted(chosen)
    graph = onnx.load(str(low.onnx)).graph
    arrays = initializers(graph)
    kept = {
        node.name
        for node in graph.node
        if node.op_type in ("Conv", "Gemm") and node.input[1] in arrays
    }
    assert kept == {*chosen, *low.origin["int8"]["left_fp32"]}  # these, and what loses too much
    assert set(build_engine(low).proof["others"]) == kept
    with pytest.raises(ExportError, match="no node nosuch"):
        export("digits", "int8", out, keep=["nosuch"])
    with pytest.raises(ExportError, match="every layer is to stay in fp32"):
        export("digits", "int8", out, keep=names)
    assert Bundle.open(out).sha256 == low.sha256  # what failed wrote nothing


def test_runs_remember_their_checkpoint(bundle_of: Bundles) -> None:
    full, low = bundle_of("lenet", "fp32"), bundle_of("lenet", "int8")
    assert low.path.name == "bundle-int8"
    for key in ("checkpoint_sha256", "recipe", "run", "opset"):
        assert low.origin[key] == full.origin[key]
    assert measure(low, count=100).reference.name == "torch fp32, the run's weights"


def test_data_that_cannot_calibrate(bundle_of: Bundles, tmp_path: Path) -> None:
    full = bundle_of("lenet", "fp32")
    out = tmp_path / "out"
    with pytest.raises(InputError, match="nosuch"):
        export(full, "int8", out, data="nosuch")
    with pytest.raises(UsageError, match="Leave it out"):
        export(full, "fp32", out, data="mnist-mini")
    assert not out.exists()
    scans, digits = Bundle.open("mmwave").spec, Bundle.open("digits").spec
    with pytest.raises(UsageError, match="seed is 100"):
        TASKS.load("denoise").calibration(scans, {"recipe": {"seed": 100}}, None, 0)
    with pytest.raises(UsageError, match=r"trained on 'letters'.*--data"):
        TASKS.load("recognize").calibration(digits, {"dataset": "letters"}, None, 0)


def test_int8_is_not_quantised_again(int8: Callable[[str], Bundle], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only fp32 can be converted"):
        export(int8("digits"), "int8", tmp_path / "x", keep=["node_conv2d"])
    assert export(int8("digits"), "int8").sha256 == int8("digits").sha256


def test_stated_losses() -> None:
    recognize, scans = TASKS.load("recognize"), TASKS.load("denoise")
    digits = recognize.tolerances["int8"]
    assert digits.loss == {"accuracy": 0.0005}
    assert scans.tolerances["int8"].loss == {"psnr": 0.1, "ssim": 0.002}

    def lost(before: float, after: float, count: int, tolerance: Tolerance = digits) -> list[str]:
        outputs = [{"probabilities": np.zeros((1, 10), np.float32)}]
        return recognize.lost(tolerance, {"accuracy": before}, {"accuracy": after}, outputs, count)

    # five answers of 10,000; of 1,000 one, since fewer cannot be counted
    assert lost(0.99, 0.9895, 10_000) == []
    assert lost(0.99, 0.9894, 10_000) == ["accuracy"]
    assert lost(0.99, 0.989, 1000) == []
    assert lost(0.99, 0.988, 1000) == ["accuracy"]
    half = replace(digits, loss={"accuracy": 0.00025})  # the search's own
    assert lost(0.99, 0.989, 1000, half) == []
    assert lost(0.99, 0.9896, 10_000, half) == ["accuracy"]
    # guessing has no accuracy to lose
    assert lost(0.12, 0.10, 10_000) == []
    before = {"psnr": 28.0, "ssim": 0.95}
    int8 = scans.tolerances["int8"]
    assert scans.lost(int8, before, {"psnr": 27.91, "ssim": 0.9485}, [], 6) == []
    assert scans.lost(int8, before, {"psnr": 27.89, "ssim": 0.9475}, [], 6) == ["psnr", "ssim"]


def test_scans_must_be_alike_since_few_of_them_mislead() -> None:
    task, bundle = TASKS.load("denoise"), Bundle.open("mmwave")
    data = task.held_out(bundle.spec, bundle.origin, count=1)
    stated = task.tolerances["int8"]
    least = task.least_agreement(bundle.spec, stated, data, {"psnr": 29.0, "ssim": 0.97})
    # an unrelated error of so many dB lowers 29 dB by the 0.1 that are allowed
    assert -10 * np.log10(10**-2.9 + 10 ** (-least / 10)) == pytest.approx(28.9)
    # what is worse than the scan itself has nothing to lose
    assert task.least_agreement(bundle.spec, stated, data, {"psnr": 5.0}) == float("-inf")
