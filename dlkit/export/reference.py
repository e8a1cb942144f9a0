"""What a bundle is compared with: torch in float32, wherever its weights are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dlkit.bundle import Bundle, sha256, shipped
from dlkit.errors import DlkitError, TrainingError
from dlkit.export.held_out import Batch, Outputs
from dlkit.export.weights import weights_in
from dlkit.training.pixels import wrap
from dlkit.training.recipe import ARCHITECTURES, Recipe, from_json
from dlkit.training.run import Run

Reference = Callable[[list[Batch]], Outputs]


def find_run(bundle: Bundle, run: Path | None = None) -> Run | None:
    """The run that a bundle was exported from: the one named, else the folder around the bundle.

    Raises:
        TrainingError: the run that was named has another checkpoint.
    """
    wanted = bundle.origin.get("checkpoint_sha256")
    found = Run(run or bundle.path.resolve().parent)
    if run is None and not found.checkpoint.is_file():
        return None
    found.load_recipe()
    if not found.checkpoint.is_file():
        raise TrainingError(f"{found.path} has no checkpoint.pt: train it first")
    if sha256(found.checkpoint) != wanted:
        if run is None:
            return None
        raise TrainingError(
            f"{bundle.path} was not exported from the checkpoint in {run}: export it again"
        )
    return found


def find_network(
    bundle: Bundle, run: Path | None = None
) -> tuple[Recipe, torch.nn.Module, str] | None:
    """Recipe, network in float32 and where its weights came from; None when nobody has them.

    Looks in the run that is named or around the bundle; in the bundle itself; and, for a bundle
    that was converted from one that ships with dlkit, in that one.

    Args:
        run: a run, or the float32 bundle that the bundle was converted from.

    Raises:
        TrainingError: what was named has other weights.
    """
    if run is not None and (run / "model.json").is_file():
        found = network_in(Bundle.open(run))
        if found is None or not _same_weights(bundle, Bundle.open(run)):
            raise TrainingError(f"{run} does not hold the float32 weights of {bundle.path}")
        return *found, f"torch fp32, the weights of {run.name}"
    source = find_run(bundle, run)
    if source is not None:
        return source.load_recipe(), source.load_network(), "torch fp32, the run's weights"
    if (found := network_in(bundle)) is not None:
        return *found, "torch fp32, the bundle's weights"
    for name in shipped():
        original = Bundle.open(name)
        if _same_weights(bundle, original) and (found := network_in(original)) is not None:
            return *found, f"torch fp32, the weights of {name}"
    return None


def _same_weights(one: Bundle, other: Bundle) -> bool:
    checkpoint = one.origin.get("checkpoint_sha256")
    return checkpoint is not None and checkpoint == other.origin.get("checkpoint_sha256")


def network_in(bundle: Bundle) -> tuple[Recipe, torch.nn.Module] | None:
    """Recipe and network of a float32 bundle, from the weights that its graph holds by name.

    Batch normalisation that the exporter folded into the layer before it does nothing any more in
    the network that is given back. None where weights are missing: in half precision.
    """
    if bundle.spec.precision != "fp32" or "recipe" not in bundle.origin:
        return None
    try:
        recipe = from_json(bundle.origin["recipe"])
        network = ARCHITECTURES.load(recipe.architecture).build(recipe.network).eval()
    except DlkitError:
        return None  # made by a dlkit that had other recipes
    weights = {**_folded(network), **weights_in(bundle)}
    wanted = network.state_dict()
    if any(name not in weights or weights[name].shape != wanted[name].shape for name in wanted):
        return None
    network.load_state_dict({name: weights[name] for name in wanted})
    return recipe, network


def _folded(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """State of every batch normalisation that passes on what it gets."""
    state: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            one, zero = torch.ones(module.num_features), torch.zeros(module.num_features)
            state[f"{name}.weight"], state[f"{name}.bias"] = (1 + module.eps) ** 0.5 * one, zero
            state[f"{name}.running_mean"], state[f"{name}.running_var"] = zero, one
            state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return state


def pixels_of(bundle: Bundle) -> Mapping[str, Any]:
    """What ``wrap`` takes beside the network so that it computes what the bundle does."""
    if bundle.spec.task != "recognize":
        return {}
    found = bundle.origin.get("pixels", {"levels": False})  # exported before there was more
    return {name: found[name] for name in ("temperature", "levels") if name in found}


def torch_reference(
    recipe: Recipe, network: torch.nn.Module, pixels: Mapping[str, Any]
) -> Reference:
    """Runs batches through the network with its pixel wrapper, in float32.

    Args:
        pixels: as ``pixels_of`` gives it.
    """
    model = wrap(recipe.task, network.eval(), recipe.network, **pixels).eval()

    def run(batches: list[Batch]) -> Outputs:
        with torch.inference_mode():
            return [model(torch.from_numpy(batch.copy())).numpy() for batch in batches]

    return run
