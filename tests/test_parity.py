"""Torch against the exported bundle: every architecture, every precision, every batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dlkit.bundle import Bundle, shipped
from dlkit.export.proof.reference import find_reference
from dlkit.export.trace import wrapped
from dlkit.export.weights import network_in
from dlkit.runtime.session import open_session, runnable
from dlkit.spec import PRECISIONS, TensorSpec
from dlkit.tasks import TASKS
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.training.architecture import ARCHITECTURES
from dlkit.training.engine.run import Run
from dlkit.training.recipe import RECIPES

from .covered import COVERED, ELSEWHERE, FULL, LOWERED, QUICK
from .long import long


def test_every_architecture_is_covered_in_every_precision() -> None:
    covered = {RECIPES.load(name).network.architecture.reference for name in COVERED}
    assert covered == set(ARCHITECTURES.names())
    assert {"gan", "dcgan", "cgan", "pix2pix_small", "cyclegan_small"} <= set(COVERED)
    tested = [tuple(case.values) for case in (*FULL, *LOWERED)]
    wanted = {(name, precision) for name in COVERED for precision in PRECISIONS}
    assert sorted(tested) == sorted(wanted - set(ELSEWHERE))
    assert set(ELSEWHERE) <= wanted
    assert set(QUICK) <= set(COVERED)


@pytest.mark.parametrize(("name", "precision"), [*FULL, *LOWERED])
def test_bundle_computes_what_torch_computes(
    name: str, precision: str, bundle_of: Callable[[str, str], Bundle]
) -> None:
    bundle = bundle_of(name, precision)
    assert bundle.spec.precision == precision
    task = TASKS.load(bundle.spec.task)
    reference = find_reference(bundle)
    assert reference.name == "torch fp32, the run's weights"
    backend, device = runnable(bundle)[0]
    session = open_session(bundle, backend, device).session
    random = np.random.default_rng(0)
    allowed = task.tolerances[precision]
    multiple_of = bundle.spec.multiple_of
    sizes = (min(4 * multiple_of, 256), max(96, multiple_of))  # where they are free
    for batch in (1, 3, 2 * task.batch["cpu"] + 1):
        shape = [batch, *shape_of(bundle.spec.input, sizes)]
        if bundle.spec.input.dtype == "uint8":
            given = random.integers(0, 256, shape, dtype=np.uint8)
        else:
            given = random.standard_normal(shape, dtype=bundle.spec.input.dtype)
        feeds = {bundle.spec.input.name: given}
        (expected,) = reference.run([feeds])
        got = session.run(feeds)
        assert set(got) == set(expected) == {bundle.spec.output.name}
        for key, array in expected.items():
            assert got[key].shape == array.shape
            assert got[key].dtype == array.dtype == np.dtype(bundle.spec.output.dtype)
            gap = np.abs(got[key].astype(float) - array.astype(float))
            assert gap.max() <= allowed.largest
            assert gap.mean() <= allowed.mean


def shape_of(tensor: TensorSpec, sizes: tuple[int, int]) -> list[int]:
    """Without the batch axis."""
    free = iter(sizes)
    return [axis if isinstance(axis, int) else next(free) for axis in tensor.shape[1:]]


@pytest.mark.long
def test_fp16_graph_holds_half_weights(bundle_of: Callable[[str, str], Bundle]) -> None:
    full, half = (
        bundle_of("resnet_small", precision).onnx.stat().st_size for precision in ("fp32", "fp16")
    )
    assert half < 0.55 * full


@pytest.mark.long
def test_files_name_no_path_of_this_machine(bundle_of: Callable[[str, str], Bundle]) -> None:
    for bundle in (*map(Bundle.open, shipped()), bundle_of("resnet_small", "fp16")):
        data = bundle.onnx.read_bytes()
        assert b".py" not in data
        assert b"name_scopes" in data


@pytest.mark.parametrize("name", ["resnet_small", long("mlp_plus")])
def test_a_bundle_alone_gives_its_network_back_though_the_exporter_folded_normalisations(
    name: str, bundle_of: Callable[[str, str], Bundle]
) -> None:
    bundle = bundle_of(name, "fp32")
    network, built = network_in(bundle)
    run = Run(bundle.path.parent)
    pixels = torch.from_numpy(load_labelled("mnist-mini").test_images[:20].copy())
    task, meaning = TASKS.load(bundle.spec.task), run.load_meaning()
    with torch.inference_mode():
        one, other = (
            wrapped(task, it, network.config, meaning)(pixels) for it in (built, run.load_network())
        )
    assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", shipped())
def test_shipped_bundles_are_what_their_own_weights_give(name: str) -> None:
    bundle = Bundle.open(name)
    shape = shape_of(bundle.spec.input, (64, 96))
    random = np.random.default_rng(0)
    if bundle.spec.input.dtype == "uint8":
        given = random.integers(0, 256, [2, *shape], dtype=np.uint8)
    else:
        given = random.standard_normal([2, *shape], dtype=bundle.spec.input.dtype)
    feeds = {bundle.spec.input.name: given}
    (expected,) = find_reference(bundle).run([feeds])
    got = open_session(bundle, "onnxruntime", "cpu").session.run(feeds)
    for key, array in expected.items():
        gap = np.abs(got[key].astype(float) - array.astype(float))
        assert gap.max() <= TASKS.load(bundle.spec.task).tolerances["fp32"].largest
