"""The torch network of a bundle: what a peer's user would have at hand."""

import torch

from dlkit.bundle import Bundle
from dlkit.export.reference import find_network, pixels_of
from dlkit.training.pixels import wrap


def load(model: str) -> torch.nn.Module:
    """uint8 pixels in, probabilities or pixels out, in float32."""
    bundle = Bundle.open(model)
    found = find_network(bundle)
    if found is None:
        raise SystemExit(f"no torch weights for {model}: keep the bundle in its run's folder")
    recipe, network, _ = found
    return wrap(recipe.task, network.eval(), recipe.network, **pixels_of(bundle)).eval()
