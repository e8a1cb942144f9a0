"""Certificates and bisect: what is measured, what is caught, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from dlkit.bundle import Bundle, sha256, shipped
from dlkit.cli import app
from dlkit.errors import (
    BundleError,
    DlkitError,
    ExportError,
    TrainingError,
    UsageError,
    VerifyError,
)
from dlkit.export.bisect import bisect, read_list
from dlkit.export.certificate import certify
from dlkit.export.onnx import export_run
from dlkit.export.rounding import run_rounded
from dlkit.export.source import to_bundle
from dlkit.export.verify import verify
from dlkit.runtime.session import open_session, runnable
from dlkit.spec import PRECISIONS
from dlkit.training.data.pairs import HELD_OUT_SEED, simulate_pairs
from dlkit.training.run import Run

from .conftest import untrained_run

Bundles = Callable[[str, str], Bundle]
HALF = [precision for precision in PRECISIONS if precision in ("fp16", "bf16")]


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


@pytest.mark.parametrize("name", shipped())
def test_shipped_bundles_are_certified_and_certify(name: str, tmp_path: Path) -> None:
    source = Bundle.open(name)
    assert source.uncertified(source.sha256) is None
    shutil.copytree(source.path, tmp_path / name)
    copy = Bundle.open(tmp_path / name).with_certificate({})
    assert copy.uncertified(copy.sha256) is not None
    result = verify(copy, limit=2 if source.spec.task == "denoise" else 300)
    assert result.within
    assert result.reference.startswith("torch fp32")
    certificate = Bundle.open(certify(copy, result).path).certificate
    assert certificate["onnx_sha256"] == source.sha256
    assert {way["backend"] for way in certificate["measured"]} == {
        backend for backend, _ in runnable(source)
    }
    for way in certificate["measured"]:
        assert way["sha256"] == source.sha256
        assert way["finite"]
        assert set(way["metrics"]) == set(certificate["reference_metrics"])
        for metric, value in way["metrics"].items():
            best = certificate["reference_metrics"][metric]
            assert value >= best - certificate["tolerances"][way["precision"]]["loss"]
    assert certificate["versions"]["onnxruntime-gpu"] or certificate["versions"]["onnxruntime"]
    assert certificate["data"]["images"] in (2, 300)
    assert certificate["hardware"]["processors"] >= 1


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("name", ["lenet", "denoiser"])
def test_half_precision_is_also_measured_rounded(
    name: str, precision: str, bundle_of: Bundles
) -> None:
    bundle = bundle_of(name, precision)
    result = verify(bundle, limit=2)
    assert result.within
    assert result.reference == "torch fp32, the run's weights"
    assert "rounded" in {way.backend for way in result.ways}
    assert len(result.ways) == 1 + len(runnable(bundle))


def test_half_precision_of_a_shipped_bundle_knows_its_weights(tmp_path: Path) -> None:
    half = to_bundle("digits", "fp16", tmp_path / "half")
    assert half.spec.precision == "fp16"
    assert half.onnx.stat().st_size < 0.55 * Bundle.open("digits").onnx.stat().st_size
    result = verify(half, limit=200)
    assert result.reference == "torch fp32, the weights of digits"
    assert result.within
    assert verify(half, Bundle.open("digits").path, limit=200).within
    with pytest.raises(TrainingError, match="does not hold"):
        verify(half, Bundle.open("mmwave").path)


def test_data_can_be_named(tmp_path: Path) -> None:
    pairs = simulate_pairs(range(HELD_OUT_SEED, HELD_OUT_SEED + 2), (168, 96))
    import cv2

    for index in range(2):
        for side, images in (("noisy", pairs.noisy), ("clean", pairs.clean)):
            (tmp_path / side).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / side / f"{index}.png"), images[index])
    result = verify(Bundle.open("mmwave"), data=str(tmp_path))
    assert result.data.images == 2
    assert result.data.name == tmp_path.name
    with pytest.raises(DlkitError, match="nosuch"):
        verify(Bundle.open("digits"), data="nosuch")


def test_overflow_that_a_cpu_hides_is_caught(overflowing: Path) -> None:
    assert verify(export_run(overflowing, "fp32"), limit=20).within
    half = export_run(overflowing, "fp16")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    assert not np.isfinite(run_rounded(half.onnx.read_bytes(), [pixels])[0]).all()
    half.with_certificate({"onnx_sha256": half.sha256, "measured": [{"sha256": half.sha256}]})
    done = dlkit("verify", half.path, "--images", 20)
    assert done.exit_code
    assert "NaN" in done.output
    assert "rounded" in str(done.exception)
    assert "--bisect" in str(done.exception)
    assert Bundle.open(half.path).certificate == {}


def test_bisect_finds_the_planted_nodes_and_their_list_mends(
    overflowing: Path, tmp_path: Path
) -> None:
    half = export_run(overflowing, "fp16", tmp_path / "half")
    found = bisect(half, overflowing)
    assert [one.module for one in found.culprits] == PLANTED
    assert [one.operator for one in found.culprits] == ["Conv", "Relu", "AveragePool", "Conv"]
    assert found.culprits[0].largest > 65504
    assert not found.before.finite
    assert found.after.within
    target = tmp_path / "keep.json"
    done = dlkit("verify", half.path, "--run", overflowing, "--bisect", "--out", target)
    assert done.exit_code == 0, done.output
    assert read_list(target) == [one.node for one in found.culprits]
    out = tmp_path / "mended"
    options = ("--precision", "fp16", "--keep-fp32", target, "--out", out)
    assert dlkit("export", overflowing, *options).exit_code == 0
    mended = Bundle.open(out)
    assert mended.origin["kept_fp32"] == sorted(read_list(target))
    assert verify(mended, overflowing, limit=100).within


def test_bfloat16_does_not_overflow(overflowing: Path) -> None:
    assert verify(export_run(overflowing, "bf16"), limit=20).within


@pytest.mark.parametrize("name", ["lenet_relu", "denoiser"])
def test_bisect_leaves_a_sound_network_alone(name: str, bundle_of: Bundles, tmp_path: Path) -> None:
    bundle = bundle_of(name, "fp16")
    found = bisect(bundle)
    assert found.culprits == []
    assert found.tests == 1
    done = dlkit("verify", bundle.path, "--bisect", "--out", tmp_path / "none.json")
    assert done.exit_code == 0
    assert "within tolerance as it is" in done.output
    assert not (tmp_path / "none.json").exists()


def test_bisect_says_when_precision_is_not_what_is_wrong(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, "lenet_relu")
    half = export_run(run, "fp16")
    other = Run(change_weights(run, **{"0.weight": 50.0}))
    origin = {**half.origin, "checkpoint_sha256": sha256(other.checkpoint)}
    spoilt = Bundle.create(tmp_path / "spoilt", half.onnx.read_bytes(), half.spec, origin)
    assert not verify(spoilt, run, limit=50).within
    with pytest.raises(VerifyError, match="a fresh export is not"):
        bisect(spoilt, run)


def test_bisect_is_for_half_precision_with_known_weights(
    bundle_of: Bundles, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is fp32"):
        bisect(bundle_of("lenet", "fp32"))
    half = bundle_of("lenet", "fp16")
    shutil.copytree(half.path, tmp_path / "alone")
    with pytest.raises(DlkitError, match="--run RUN"):
        bisect(Bundle.open(tmp_path / "alone"))


def test_lists_of_nodes_that_do_not_fit(bundle_of: Bundles, tmp_path: Path) -> None:
    run = bundle_of("lenet", "fp16").path.parent
    with pytest.raises(ExportError, match="no node nosuch"):
        export_run(run, "fp16", tmp_path / "out", keep=["nosuch"])
    with pytest.raises(UsageError, match="make no sense"):
        export_run(run, "fp32", tmp_path / "out", keep=["node_conv2d"])
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
    task: str, bundle_of: Bundles, digits_folder: Path, scans_folder: Path, tmp_path: Path
) -> None:
    name, folder = ("lenet", digits_folder) if task == "recognize" else ("denoiser", scans_folder)
    shutil.copytree(bundle_of(name, "fp32").path, tmp_path / "b")
    bundle = Bundle.open(tmp_path / "b").with_certificate({})
    out = tmp_path / ("out.csv" if task == "recognize" else "out")
    arguments = (task, folder, "--model", bundle.path, "--out", out)
    done = dlkit(*arguments)
    assert done.exit_code == 0
    assert done.output.count("has no certificate") == 1
    refused = dlkit(*arguments, "--require-certificate")
    assert isinstance(refused.exception, BundleError)
    certified = {"onnx_sha256": bundle.sha256, "measured": [{"sha256": bundle.sha256}]}
    bundle.with_certificate(certified)
    done = dlkit(*arguments, "--require-certificate")
    assert done.exit_code == 0
    assert "certificate" not in done.output


def test_verify_sees_another_networks_weights(bundle_of: Bundles, tmp_path: Path) -> None:
    shutil.copytree(bundle_of("lenet", "fp32").path.parent, tmp_path / "run")
    run = change_weights(tmp_path / "run", **{"0.weight": 5.0})
    bundle = Bundle.open(run / "bundle-fp32")
    with pytest.raises(TrainingError, match="was not exported from"):
        verify(bundle, run)
    origin = {**bundle.origin, "checkpoint_sha256": sha256(Run(run).checkpoint)}
    other = Bundle.create(tmp_path / "b", bundle.onnx.read_bytes(), bundle.spec, origin)
    assert not verify(other, run, limit=50).within


def test_sessions_name_the_file_that_they_run(bundle_of: Bundles) -> None:
    bundle = bundle_of("lenet", "fp32")
    for backend, device in runnable(bundle):
        assert open_session(bundle, backend, device).session.sha256 == bundle.sha256
