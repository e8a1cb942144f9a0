"""Every recipe x precision x batch: torch against ONNX Runtime from the exported bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dlkit.bundle import Bundle
from dlkit.export.tensorrt import build_engine, find_flavor
from dlkit.export.verify import TOLERANCES, verify
from dlkit.runtime.session import open_session
from dlkit.spec import PRECISIONS
from dlkit.training.pixels import wrap
from dlkit.training.recipe import ARCHITECTURES, RECIPES, load_recipe
from dlkit.training.run import Run

_MANY_PARAMETERS = 10_000_000


def small_recipes() -> list[str]:
    """Every recipe that is small enough for two cores; at least one for every architecture."""
    found = []
    for name in RECIPES.names():
        recipe = load_recipe(name)
        with torch.device("meta"):
            network = ARCHITECTURES.load(recipe.architecture).build(recipe.network)
        size = sum(parameter.numel() for parameter in network.parameters())
        if size < _MANY_PARAMETERS and not name.endswith(("wgan", "googlenet")):
            found.append(name)
    return found


def test_every_architecture_is_covered() -> None:
    assert {load_recipe(name).architecture for name in small_recipes()} == set(
        ARCHITECTURES.names()
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", small_recipes())
def test_bundle_computes_what_torch_computes(
    name: str, precision: str, bundle_of: Callable[[str, str], Bundle]
) -> None:
    bundle = bundle_of(name, precision)
    assert bundle.spec.precision == precision
    run = Run(bundle.path.parent)
    recipe = run.load_recipe()
    model = wrap(recipe.task, run.load_network(), recipe.network).eval()
    session = open_session(bundle, "onnxruntime", "cpu").session
    random = np.random.default_rng(0)
    most, mean = TOLERANCES[recipe.task, precision]
    for batch in (1, 3, 64 if recipe.task == "recognize" else 4):
        shape = [28, 28] if recipe.task == "recognize" else [4 * bundle.spec.multiple_of, 96]
        pixels = random.integers(0, 256, (batch, *shape), dtype=np.uint8)
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels)).numpy()
        got = session(pixels)
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype == np.dtype(bundle.spec.output.dtype)
        gap = np.abs(got.astype(float) - expected.astype(float))
        assert gap.max() <= most
        assert gap.mean() <= mean


def test_fp16_graph_holds_half_weights(bundle_of: Callable[[str, str], Bundle]) -> None:
    full, half = (bundle_of("vgg_small", precision).onnx.stat().st_size for precision in PRECISIONS)
    assert half < 0.55 * full


@pytest.mark.parametrize("name", ["lenet", "denoiser"])
def test_verify_passes_and_is_recorded(name: str, bundle_of: Callable[[str, str], Bundle]) -> None:
    bundle = bundle_of(name, "fp16")
    differences = verify(bundle)
    assert {difference.backend for difference in differences} >= {"onnxruntime", "openvino"}
    assert all(
        difference.within and difference.reference == "torch fp32" for difference in differences
    )
    assert Bundle.open(bundle.path).parity["onnx_sha256"] == bundle.sha256


def test_verify_sees_another_networks_weights(
    bundle_of: Callable[[str, str], Bundle], tmp_path: Path
) -> None:
    bundle = bundle_of("lenet", "fp32")
    run = Run(bundle.path.parent)
    state = run.load_checkpoint()
    before = run.checkpoint.read_bytes()
    try:
        state["network"]["0.weight"] += 1.0
        run.save_checkpoint(state)
        origin = dict(bundle.origin)
        from dlkit.bundle import sha256

        origin["checkpoint_sha256"] = sha256(run.checkpoint)
        other = Bundle.create(tmp_path / "b", bundle.onnx.read_bytes(), bundle.spec, origin)
        assert not all(difference.within for difference in verify(other, run.path))
    finally:
        run.checkpoint.write_bytes(before)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_engine_is_built(precision: str, bundle_of: Callable[[str, str], Bundle]) -> None:
    find_flavor()
    bundle = bundle_of("lenet", precision)
    engine = build_engine(bundle)
    assert engine.stat().st_size > 10_000
    assert bundle.sha256[:16] in engine.name
    assert not list(bundle.engines.glob(".*"))
