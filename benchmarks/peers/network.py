"""The torch network of a bundle: what a peer's user would have at hand."""

import torch

from dlkit.bundle import Bundle
from dlkit.export.trace import wrapped
from dlkit.export.weights import network_in
from dlkit.tasks import TASKS


def load(model: str) -> torch.nn.Module:
    """uint8 pixels in, probabilities or pixels out, in float32."""
    bundle = Bundle.open(model)
    network, built = network_in(bundle)
    task = TASKS.load(bundle.spec.task)
    return wrapped(task, built, network.config, bundle.origin.get("meaning", {})).eval()
