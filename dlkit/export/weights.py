"""Weights to begin a training with: a run's, or those that an exported bundle holds."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import torch
from torch import Tensor

from dlkit.bundle import Bundle
from dlkit.errors import UsageError
from dlkit.runtime.model import TASKS
from dlkit.training.run import Run

# What the pixel wrapper calls the network inside: the exporter keeps the names of parameters.
_PREFIX = "network."


def load_weights(source: str, task: str) -> dict[str, Tensor]:
    """The network's weights by their names in torch.

    Args:
        source: a run's folder, a bundle's folder, the name of a shipped bundle, or ``default``:
            the shipped bundle of the task.
        task: the task that the weights must serve.

    Raises:
        UsageError: the bundle is not FP32: its weights were rounded or rewritten.
        BundleError: no bundle, a damaged one, or one for another task.
        TrainingError: a damaged run.
    """
    path = Path(source)
    if (path / "recipe.json").is_file():
        run = Run(path)
        if (other := run.load_recipe().task) != task:
            raise UsageError(f"--init {source} is a run to {other}, expected one to {task}")
        return dict(run.load_network().state_dict())
    name = TASKS.load(task).DEFAULT_BUNDLE if source == "default" else source
    bundle = Bundle.open(name, task)
    if bundle.spec.precision != "fp32":
        raise UsageError(
            f"--init {source} is {bundle.spec.precision}, expected fp32: give the bundle that it "
            "was made from, or the run"
        )
    weights = weights_in(bundle)
    if not weights:
        raise UsageError(f"--init {source} has no weights that can be recognised: give a run")
    return weights


def weights_in(bundle: Bundle) -> dict[str, Tensor]:
    """Weights that a float32 bundle's graph holds under the names of the network's parameters.

    Those that the exporter folded into others (batch normalisation) are not among them.
    """
    return {
        name.removeprefix(_PREFIX): torch.from_numpy(value.const_value.numpy().copy())
        for name, value in ir.load(bundle.onnx).graph.initializers.items()
        if name.startswith(_PREFIX) and value.const_value is not None
    }
