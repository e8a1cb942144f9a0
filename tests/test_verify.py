"""Certificates and bisect: what is measured, what is caught, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.bundle import SHIPPED, Bundle, sha256, shipped
from dlkit.cli import app
from dlkit.errors import BundleError, DlkitError, ExportError, UsageError, VerifyError
from dlkit.export.api import export, verify
from dlkit.export.lower import lower, prepared
from dlkit.export.proof.bisect import bisect, read_list
from dlkit.export.proof.rounding import run_rounded
from dlkit.export.proof.verify import measure, outside
from dlkit.graph.read import read_graph
from dlkit.paper import Digits, simulate
from dlkit.runtime.session import open_session, runnable
from dlkit.tasks import TASKS
from dlkit.tasks.denoise.pairs import HELD_OUT_SEED, simulate_pairs
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.tasks.recognize.paper_crops import labelled_crops
from dlkit.training.engine.run import Run

from .conftest import untrained_run

Bundles = Callable[[str, str], Bundle]
FEW = {
    "recognize": 100,
    "denoise": 4,
    "detect": 4,
    "generate": 100,
    "tensors": 100,
}  # the fewest inputs that a certificate needs


def dlkit(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def change_weights(run: Path, **factors: float) -> Path:
    """Multiply weights of a run: ``change_weights(run, **{"0.weight": 2.0})``."""
    state = Run(run).load_checkpoint()
    for name, factor in factors.items():
        state["network"][name] *= factor
    Run(run).save_checkpoint(state)
    return run


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose first convolution's outputs pass 65504 and whose second undoes that.

    ReLU and means commute with a positive factor, so it computes what it did before.
    """
    run = untrained_run(tmp_path_factory.mktemp("overflow"), "lenet_relu")
    factor = 1e5
    return change_weights(run, **{"0.weight": factor, "0.bias": factor, "3.weight": 1 / factor})


PLANTED = ["0", "1", "2", "3"]  # convolution, ReLU, pooling, and the convolution that undoes it


def within(bundle: Bundle, *arguments: Any, **options: Any) -> bool:
    """Whether what is measured of it is inside the tolerance."""
    return not outside(bundle, measure(bundle, *arguments, **options))


@pytest.fixture(scope="module")
def of_paper(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Inputs of the bundles that read paper: nobody has a set of them."""
    folder = tmp_path_factory.mktemp("paper")
    mini = load_labelled("mnist-mini")
    digits = Digits(mini.test_images, mini.test_labels)
    pages = [simulate(np.random.default_rng(seed), digits, "ruled").image for seed in range(25)]
    opened = lambda: open_session(Bundle.open("digit_finder")).session  # noqa: E731
    corners = [(top, left) for top in (0, 192) for left in (0, 256)]
    cut = np.stack([page[top:, left:][:192, :256].max(axis=2) for page in pages
                    for top, left in corners])  # fmt: skip
    np.savez(folder / "pages.npz", pixels=cut)
    np.savez(folder / "crops.npz", **labelled_crops(digits, digits, 1000, 0, opened))
    return {"digit_finder": folder / "pages.npz", "digit_reader": folder / "crops.npz"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(one, marks=() if one in ("digits", "mmwave") else pytest.mark.long)
        for one in shipped()
    ],
)
def test_shipped_bundles_are_certified_and_certify(
    name: str, of_paper: dict[str, Path], tmp_path: Path
) -> None:
    source = Bundle.open(name)
    assert source.uncertified(source.sha256) is None
    before = (SHIPPED / name / "model.json").read_bytes()
    copy = source.copy(tmp_path / name).with_certificate(None)
    assert copy.uncertified(copy.sha256) is not None
    found = verify(copy, data=of_paper.get(name), count=FEW[source.spec.task])
    assert found.reference.name == "torch fp32, the bundle's weights"
    assert found.reference.sha256 == source.sha256
    certificate = Bundle.open(copy.path).certificate
    assert certificate == found
    assert certificate.onnx_sha256 == source.sha256
    ways = runnable(source)
    assert [(row.backend, row.device) for row in certificate.measured] == ways
    for row in certificate.measured:
        assert row.sha256 == source.sha256
        assert row.finite
        assert set(row.metrics) == set(certificate.reference.metrics)
        for metric, value in row.metrics.items():
            best = certificate.reference.metrics[metric]
            assert value >= best - certificate.tolerances[row.precision]["loss"][metric]
    assert certificate.versions.keys() & {"onnxruntime-gpu", "onnxruntime"}
    assert certificate.inputs.count == FEW[source.spec.task]
    assert certificate.hardware["processors"] >= 1
    assert (SHIPPED / name / "model.json").read_bytes() == before


def test_a_shipped_bundle_is_verified_as_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in (SHIPPED / "digits").iterdir()}
    done = dlkit("verify", "digits", "--count", 100)
    assert done.exit_code == 0, done.output
    assert "read-only; verifying the copy digits-fp32" in " ".join(done.output.split())
    assert "says more than this would (100 inputs instead of 1000)" in " ".join(done.output.split())
    copy = Bundle.open("digits-fp32")
    assert copy.certificate == Bundle.open("digits").certificate
    assert dlkit("verify", "digits-fp32", "--count", 100, "--replace").exit_code == 0
    copy = Bundle.open("digits-fp32")
    assert copy.certificate is not None
    assert copy.certificate.inputs.count == 100
    assert {path: path.read_bytes() for path in (SHIPPED / "digits").iterdir()} == before
    Bundle.open("mmwave").copy(tmp_path / "other")
    with pytest.raises(BundleError, match="holds another bundle"):
        verify("digits", out="other")


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("lenet", "fp16"),
        ("lenet", "bf16"),
        pytest.param("denoiser", "fp16", marks=pytest.mark.long),
    ],
)
def test_half_precision_is_also_measured_rounded(
    name: str, precision: str, bundle_of: Bundles
) -> None:
    bundle = bundle_of(name, precision)
    found = measure(bundle, count=FEW[bundle.spec.task])
    assert found.reference.name == "torch fp32, the run's weights"
    assert found.reference.sha256 == sha256(Run(bundle.path.parent).checkpoint)
    assert "rounded" in {row.backend for row in found.measured}
    assert len(found.measured) == 1 + len(runnable(bundle))


@pytest.mark.long
def test_half_precision_of_a_shipped_bundle_knows_its_weights(tmp_path: Path) -> None:
    half = export("digits", "fp16", tmp_path / "half")
    assert half.spec.precision == "fp16"
    assert half.onnx.stat().st_size < 0.55 * Bundle.open("digits").onnx.stat().st_size
    found = verify(half, count=200)
    assert found.reference.name == "torch fp32, the weights of digits"
    assert found.reference.sha256 == Bundle.open("digits").sha256
    assert within(half, "digits", count=200)
    with pytest.raises(UsageError, match="does not hold"):
        verify(half, "mmwave")
    with pytest.raises(UsageError, match="a reference is float32"):
        verify(Bundle.open("digits").copy(tmp_path / "full"), half)


def test_a_certificate_needs_a_hundred_inputs_or_a_few_whole_scans() -> None:
    assert {name: TASKS.load(name).least_inputs for name in TASKS.names()} == FEW


@pytest.mark.parametrize("name", ["digits", "mmwave", "objects", "digit_maker"])
def test_few_inputs_make_no_certificate(name: str, tmp_path: Path) -> None:
    bundle = Bundle.open(name).copy(tmp_path / "b").with_certificate(None)
    least = FEW[bundle.spec.task]
    with pytest.raises(UsageError, match=f"needs {least} inputs or more.* gives {least - 1}"):
        verify(bundle, count=least - 1)
    assert Bundle.open(bundle.path).certificate is None


def test_data_can_be_named(tmp_path: Path) -> None:
    pairs = simulate_pairs(range(HELD_OUT_SEED, HELD_OUT_SEED + 4), (168, 96))
    for side, images in (("noisy", pairs.noisy), ("clean", pairs.clean)):
        (tmp_path / side).mkdir()
        for index, image in enumerate(images):
            cv2.imwrite(str(tmp_path / side / f"{index}.png"), image)
    found = measure(Bundle.open("mmwave"), data=str(tmp_path))
    assert (found.inputs.count, found.inputs.name) == (4, tmp_path.name)
    with pytest.raises(DlkitError, match="nosuch"):
        measure(Bundle.open("digits"), data="nosuch")


def test_data_can_be_arrays(bundle_of: Bundles) -> None:
    bundle = bundle_of("lenet", "fp32")
    pixels = np.random.default_rng(0).integers(0, 256, (130, 28, 28), dtype=np.uint8)
    found = measure(bundle, data=pixels)
    assert (found.inputs.name, found.inputs.count, found.inputs.random) == ("arrays", 130, False)
    assert found.reference.metrics == {}  # nobody said what is on them
    assert measure(bundle, data={"pixels": pixels}).inputs == found.inputs
    assert measure(bundle, data=pixels, count=101).inputs.count == 101
    with pytest.raises(DlkitError, match="expected pixels uint8"):
        measure(bundle, data=pixels[:, :14])


def unguarded(run: Path, folder: Path) -> Bundle:
    """fp16 as if nobody had looked at ranges."""
    full = export(run)
    graph = prepared(read_graph(full.onnx), "fp16")
    whole = lower(graph, "unguarded", "fp16", lost={}).graph
    origin = {**full.origin, "converted_from_sha256": full.sha256}
    return Bundle.create(folder, whole, replace(full.spec, precision="fp16"), origin)


@pytest.mark.long
def test_export_says_what_half_precision_cannot_hold(overflowing: Path, here: Path) -> None:
    with pytest.raises(ExportError, match=r"42.4% of the multiply-adds .* node_conv2d_1 \(fp32: "):
        export(overflowing, "fp16", "half")
    done = dlkit("export", overflowing, "--precision", "fp16", "--out", "half")
    assert "float16 ends at 6.55e+04" in str(done.exception)
    assert not Path("half").exists()
    options = ("--keep-fp32", "lenet_relu-keep-fp32.json", "--out", "half")
    assert dlkit("export", overflowing, "--precision", "fp16", *options).exit_code == 0
    assert within(Bundle.open("half"), overflowing, count=100)


def test_a_network_that_guesses_gets_no_certificate(bundle_of: Bundles) -> None:
    for precision in ("fp32", "fp16"):
        bundle = bundle_of("lenet", precision)
        with pytest.raises(VerifyError, match=r"no more than a guess \(accuracy 0.19\)"):
            verify(bundle, count=100)
        assert Bundle.open(bundle.path).certificate is None


@pytest.mark.long
def test_overflow_that_a_cpu_hides_is_caught(overflowing: Path, tmp_path: Path) -> None:
    full = export(overflowing)
    assert within(full, count=100)
    half = unguarded(overflowing, tmp_path / "half")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    assert not np.isfinite(
        run_rounded(read_graph(half.onnx), [{"pixels": pixels}])[0]["probabilities"]
    ).all()
    half.with_certificate(measure(full, count=100))
    done = dlkit("verify", half.path, "--count", 100, "--against", overflowing)
    assert done.exit_code
    assert "NaN" in done.output
    assert "rounded" in str(done.exception)
    assert "--bisect" in str(done.exception)
    assert Bundle.open(half.path).certificate is None


@pytest.mark.long
def test_bisect_finds_the_planted_nodes_and_their_list_mends(
    overflowing: Path, tmp_path: Path
) -> None:
    half = unguarded(overflowing, tmp_path / "half")
    found = bisect(half, overflowing)
    assert [one.module for one in found.culprits] == PLANTED
    assert [one.operator for one in found.culprits] == ["Conv", "Relu", "AveragePool", "Conv"]
    assert found.culprits[0].largest > 65504
    assert not found.before.finite
    assert found.after.within
    target = tmp_path / "keep.json"
    done = dlkit("verify", half.path, "--against", overflowing, "--bisect", "--out", target)
    assert done.exit_code == 0, done.output
    assert read_list(target) == [one.node for one in found.culprits]
    out = tmp_path / "mended"
    options = ("--precision", "fp16", "--keep-fp32", target, "--out", out)
    assert dlkit("export", overflowing, *options).exit_code == 0
    mended = Bundle.open(out)
    assert mended.origin["kept_fp32"] == sorted(read_list(target))
    assert within(mended, overflowing, count=100)


@pytest.mark.long
def test_bfloat16_does_not_overflow(overflowing: Path) -> None:
    assert within(export(overflowing, "bf16"), count=100)


@pytest.mark.long
def test_the_list_replaces_nothing_else(bundle_of: Bundles, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text('["mine"]')
    done = dlkit("verify", bundle_of("lenet", "fp16").path, "--bisect", "--out", mine)
    assert isinstance(done.exception, UsageError)
    assert mine.read_text() == '["mine"]'


@pytest.mark.long
def test_bisect_leaves_the_denoiser_alone(bundle_of: Bundles) -> None:
    assert bisect(bundle_of("denoiser", "fp16"), count=1).culprits == []


@pytest.mark.long
def test_bisect_leaves_a_sound_network_alone(bundle_of: Bundles, tmp_path: Path) -> None:
    bundle = bundle_of("lenet", "fp16")
    found = bisect(bundle)
    assert found.culprits == []
    assert found.tests == 1
    done = dlkit("verify", bundle.path, "--bisect", "--out", tmp_path / "none.json")
    assert done.exit_code == 0
    assert "within tolerance as it is" in done.output
    assert not (tmp_path / "none.json").exists()


@pytest.mark.long
def test_bisect_says_when_precision_is_not_what_is_wrong(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, "lenet_relu")
    half = export(run, "fp16")
    other = Run(change_weights(run, **{"0.weight": 50.0}))
    origin = {**half.origin, "checkpoint_sha256": sha256(other.checkpoint)}
    spoilt = Bundle.create(tmp_path / "spoilt", half.onnx.read_bytes(), half.spec, origin)
    assert not within(spoilt, run, count=100)
    with pytest.raises(VerifyError, match="a fresh export is not"):
        bisect(spoilt, run)


def test_bisect_is_for_half_precision_with_known_weights(
    bundle_of: Bundles, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is fp32"):
        bisect(bundle_of("lenet", "fp32"))
    half = bundle_of("lenet", "fp16")
    shutil.copytree(half.path, tmp_path / "far" / "away" / "alone")
    with pytest.raises(VerifyError, match="--against RUN"):
        bisect(Bundle.open(tmp_path / "far" / "away" / "alone"))


def test_lists_of_nodes_that_do_not_fit(bundle_of: Bundles, tmp_path: Path) -> None:
    run = bundle_of("lenet", "fp16").path.parent
    with pytest.raises(ExportError, match="no node nosuch"):
        export(run / "bundle-fp32", "fp16", tmp_path / "out", keep=["nosuch"])
    with pytest.raises(UsageError, match="make no sense"):
        export(run / "bundle-fp32", "fp32", tmp_path / "out", keep=["node_conv2d"])
    file = tmp_path / "list.json"
    with pytest.raises(UsageError, match="there is no"):
        read_list(file)
    for text in ("", "[]", '{"keep_fp32": 3}', '{"keep_fp32": [3]}'):
        file.write_text(text)
        with pytest.raises(UsageError, match="no list of nodes"):
            read_list(file)


def test_one_changed_byte_is_said(tmp_path: Path, scans_folder: Path) -> None:
    shutil.copytree(Bundle.open("mmwave").path, tmp_path / "b")
    file = tmp_path / "b" / "model.onnx"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = dlkit("denoise", scans_folder, "--model", tmp_path / "b", "--out", tmp_path / "out")
    assert isinstance(done.exception, BundleError)
    assert "was changed" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_hash_that_was_changed_with_the_file_is_no_certificate(tmp_path: Path) -> None:
    shutil.copytree(Bundle.open("digits").path, tmp_path / "b")
    file, meta = tmp_path / "b" / "model.onnx", tmp_path / "b" / "model.json"
    before = sha256(file)
    data = file.read_bytes() + b"\x08\x0a"  # protobuf: ir_version once more; still a graph
    file.write_bytes(data)
    spec = json.loads(meta.read_text())
    spec["onnx"]["sha256"] = sha256(file)
    meta.write_text(json.dumps(spec))
    bundle = Bundle.open(tmp_path / "b")
    assert bundle.sha256 != before
    assert "for other files" in str(bundle.uncertified(bundle.sha256))


@pytest.mark.parametrize("task", ["recognize", "denoise"])
def test_uncertified_bundles_warn_or_are_refused(
    task: str, digits_folder: Path, scans_folder: Path, tmp_path: Path
) -> None:
    name, folder = ("digits", digits_folder) if task == "recognize" else ("mmwave", scans_folder)
    source = Bundle.open(name)
    bundle = source.copy(tmp_path / "b").with_certificate(None)
    out = tmp_path / ("out.csv" if task == "recognize" else "out")
    arguments = (task, folder, "--model", bundle.path, "--out", out)
    done = dlkit(*arguments)
    assert done.exit_code == 0, done.output
    assert done.output.count("has no certificate") == 1
    refused = dlkit(*arguments, "--require-certificate")
    assert isinstance(refused.exception, BundleError)
    bundle.with_certificate(source.certificate)
    done = dlkit(*arguments, "--require-certificate")
    assert done.exit_code == 0, done.output
    assert "certificate" not in done.output


def test_a_certificate_is_for_one_spec(tmp_path: Path) -> None:
    source = Bundle.open("digits")
    turned = replace(source.spec, labels=tuple(reversed(source.spec.labels)))
    other = Bundle.create(tmp_path / "b", source.onnx.read_bytes(), turned, source.origin)
    other = other.with_certificate(source.certificate)
    assert "for other files" in str(other.uncertified(other.sha256))
    for number, changed in enumerate(
        ({"pages": False}, {"resize": "crop"}, {"colour": "rgb"}, {"options": {"ink": "dark"}})
    ):
        spec = replace(source.spec, **changed)
        assert spec != source.spec
        path = tmp_path / f"changed{number}"
        other = Bundle.create(path, source.onnx.read_bytes(), spec, source.origin)
        other = other.with_certificate(source.certificate)
        assert "for other files" in str(other.uncertified(other.sha256)), changed
    renamed = Bundle.create(
        tmp_path / "c", source.onnx.read_bytes(), replace(source.spec, name="mine"), source.origin
    ).with_certificate(source.certificate)
    assert renamed.uncertified(renamed.sha256) is None


def test_verify_sees_another_networks_weights(bundle_of: Bundles, tmp_path: Path) -> None:
    shutil.copytree(bundle_of("lenet", "fp32").path.parent, tmp_path / "run")
    run = change_weights(tmp_path / "run", **{"0.weight": 5.0})
    bundle = Bundle.open(run / "bundle-fp32")
    with pytest.raises(UsageError, match="was not exported from"):
        verify(bundle, run)
    origin = {**bundle.origin, "checkpoint_sha256": sha256(Run(run).checkpoint)}
    other = Bundle.create(tmp_path / "b", bundle.onnx.read_bytes(), bundle.spec, origin)
    with pytest.raises(VerifyError, match="out of tolerance"):
        verify(other, run, count=100)
    assert Bundle.open(other.path).certificate is None


def test_sessions_name_the_file_that_they_run(bundle_of: Bundles) -> None:
    bundle = bundle_of("lenet", "fp32")
    for backend, device in runnable(bundle):
        assert open_session(bundle, backend, device).session.sha256 == bundle.sha256
