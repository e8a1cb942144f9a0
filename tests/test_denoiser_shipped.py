"""The shipped denoiser: quality on held-out scans, objects, any size, small and light."""

from __future__ import annotations

import numpy as np
import pytest

import dlkit
from dlkit.bundle import Bundle
from dlkit.evaluation.report import Request
from dlkit.evaluation.scans import measure_scans
from dlkit.mmwave import simulate
from dlkit.tasks import Model
from dlkit.training.summary import summarise


@pytest.fixture(scope="module")
def model() -> Model:  # type: ignore[type-arg]
    return dlkit.load("mmwave")  # type: ignore[no-any-return]


@pytest.mark.long
def test_quality_on_held_out_scans(model: Model) -> None:  # type: ignore[type-arg]
    report = measure_scans({"ours": lambda scan: model.answers([scan], 1)[0]},
                      Request("simulated", count=24, slow=0))  # fmt: skip
    rows = {row["method"]: row for row in report.rows}
    ours = rows.pop("ours")
    assert ours["psnr"] > 30  # docs/denoising.md has 200 pairs
    assert ours["ssim"] > 0.95
    assert ours["psnr"] > 3 + max(row["psnr"] for row in rows.values())
    assert ours["objects_counted"] > 15
    assert ours["objects_kept"] > 0.95
    assert ours["without_false_object"] == 1.0


@pytest.mark.parametrize(
    "size",
    [
        (64, 64),
        (65, 71),
        (101, 640),
        (678, 384),
        (999, 333),
        (1536, 64),
        pytest.param((2000, 2000), marks=pytest.mark.long),
    ],
)
def test_any_size_comes_back_in_its_own(model: Model, size: tuple[int, int]) -> None:  # type: ignore[type-arg]
    cleaned = model.answers([simulate(3, size).noisy], 1)[0]
    assert cleaned.shape == size
    assert cleaned.dtype == np.uint8
    assert cleaned.max() > 200


@pytest.mark.long
def test_the_company_in_a_batch_changes_nothing() -> None:
    # in float32: bfloat16 rounds sums by their order, which a batch's shape may change
    model = dlkit.load("mmwave", backend="onnxruntime")
    sizes = [(678, 384), (97, 64), (678, 384), (64, 211), (672, 380), (678, 384), (97, 64)]
    scans = [simulate(seed, size).noisy for seed, size in enumerate(sizes, start=40)]
    scans[2] = np.full((678, 384), 255, np.uint8)  # hostile company
    scans[5] = np.random.default_rng(0).integers(100, 256, (678, 384)).astype(np.uint8)
    alone = [model.answers([scan], 1)[0] for scan in scans]
    for batch in (2, 4, 7):
        together = model.answers(scans, batch)
        for one, other, size in zip(alone, together, sizes, strict=True):
            assert one.shape == other.shape == size
            assert np.abs(one.astype(int) - other).max() <= 1


def test_small_and_light() -> None:
    bundle = Bundle.open("mmwave")
    assert bundle.onnx.stat().st_size < 4_000_000
    summary = summarise("denoiser")
    assert summary.gflop < 7
    assert 300_000 < summary.parameters < 1_000_000
    assert bundle.origin["recipe"]["data"] == bundle.origin["dataset"] == "simulated"
