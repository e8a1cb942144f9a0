"""Every recipe x precision x batch: torch against the exported bundle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dlkit.bundle import Bundle, shipped
from dlkit.export.reference import network_in
from dlkit.export.verify import TOLERANCES
from dlkit.runtime.session import open_session, runnable
from dlkit.spec import PRECISIONS
from dlkit.training.data.digits import load_digits
from dlkit.training.pixels import wrap
from dlkit.training.recipe import ARCHITECTURES, load_recipe
from dlkit.training.run import Run

from .conftest import small_recipes


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
    backend, device = runnable(bundle)[0]
    session = open_session(bundle, backend, device).session
    random = np.random.default_rng(0)
    allowed = TOLERANCES[recipe.task, precision]
    for batch in (1, 3, 64 if recipe.task == "recognize" else 4):
        shape = [28, 28] if recipe.task == "recognize" else [4 * bundle.spec.multiple_of, 96]
        pixels = random.integers(0, 256, (batch, *shape), dtype=np.uint8)
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels)).numpy()
        got = session(pixels)
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype == np.dtype(bundle.spec.output.dtype)
        gap = np.abs(got.astype(float) - expected.astype(float))
        assert gap.max() <= allowed.largest
        assert gap.mean() <= allowed.mean


def test_fp16_graph_holds_half_weights(bundle_of: Callable[[str, str], Bundle]) -> None:
    full, half = (
        bundle_of("vgg_small", precision).onnx.stat().st_size for precision in ("fp32", "fp16")
    )
    assert half < 0.55 * full


def test_files_name_no_path_of_this_machine(bundle_of: Callable[[str, str], Bundle]) -> None:
    for bundle in (*map(Bundle.open, shipped()), bundle_of("resnet_small", "fp16")):
        data = bundle.onnx.read_bytes()
        assert b".py" not in data
        assert b"name_scopes" in data


@pytest.mark.parametrize("name", ["digits", "mlp_plus", "best"])
def test_a_bundle_alone_gives_its_network_back_though_the_exporter_folded_normalisations(
    name: str, bundle_of: Callable[[str, str], Bundle]
) -> None:
    bundle = bundle_of(name, "fp32")
    found = network_in(bundle)
    assert found is not None
    recipe, network = found
    trained = Run(bundle.path.parent).load_network()
    pixels = load_digits("mnist-mini").test_images[:20]
    with torch.inference_mode():
        one, other = (wrap("recognize", it, recipe.network)(pixels) for it in (network, trained))
    assert torch.allclose(one, other, atol=1e-5)
