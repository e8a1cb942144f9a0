"""Weights, and networks in torch, that runs and bundles hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from dlkit.bundle import Bundle
from dlkit.errors import ExportError, UsageError
from dlkit.tasks import TASKS
from dlkit.training.architecture import Network
from dlkit.training.engine.run import Run, is_run
from dlkit.training.recipe import from_json

# What surrounds a network calls it so: the exporter keeps the names of parameters.
_PREFIX = "network."
_FOLDED_BIAS = "_bias"  # what it calls the bias of a layer that had none, behind its weight's name


@dataclass(frozen=True)
class ModuleConfig:
    """What a task must know of a module that came without an architecture.

    Attributes:
        image_size: height and width that a classifier takes.
        classes: that it gives.
    """

    image_size: tuple[int, int] = (0, 0)
    classes: int = 0


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
    if is_run(source):
        run = Run(source)
        if (other := run.load_recipe().task.name) != task:
            raise UsageError(f"--init {source} is a run to {other}, expected one to {task}")
        return dict(run.load_network().state_dict())
    default = TASKS.load(task).default_bundle
    if source == "default" and default is None:
        raise UsageError(f"no bundle to {task} ships with dlkit", "Name a run or a bundle")
    bundle = Bundle.open(default if source == "default" and default else source, task)
    if bundle.spec.precision != "fp32":
        raise UsageError(
            f"--init {source} is {bundle.spec.precision}, expected fp32",
            "Give the bundle that it was made from, or the run",
        )
    weights = weights_in(bundle)
    if not weights:
        raise UsageError(f"--init {source} has no weights that can be recognised", "Give a run")
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


def network_in(bundle: Bundle) -> tuple[Network, nn.Module]:
    """The network of a float32 bundle, built anew from the weights that its graph holds by name.

    Batch normalisation that the exporter folded into the layer before it does nothing any more in
    the network that is given back.

    Raises:
        UsageError: the plug-in that its architecture came from is not here.
        TrainingError: another dlkit made it.
        ExportError: it is not float32, was made of no recipe, or its graph lacks weights.
    """
    if bundle.spec.precision != "fp32":
        raise ExportError(f"{bundle.path.name} is {bundle.spec.precision}")
    if "recipe" not in bundle.origin:
        raise ExportError(f"{bundle.path.name} was made of no recipe")
    network = from_json(bundle.origin["recipe"]).network
    built = network.build().eval()
    weights = {**_folded(built), **weights_in(bundle)}
    for name, module in built.named_modules():
        bias = weights.get(f"{name}.weight{_FOLDED_BIAS}")
        if bias is not None and getattr(module, "bias", bias) is None:
            module.bias = nn.Parameter(bias)
            weights[f"{name}.bias"] = bias
    wanted = built.state_dict()
    if missing := [
        name for name in wanted if name not in weights or weights[name].shape != wanted[name].shape
    ]:
        raise ExportError(f"the graph of {bundle.path.name} does not hold {missing[0]} by its name")
    built.load_state_dict({name: weights[name] for name in wanted})
    return network, built


def describe_module(bundle: Bundle) -> tuple[ModuleConfig, Mapping[str, Any]]:
    """Config and meaning of the module that a bundle was made from, as ``Task.wrap`` takes them."""
    config = bundle.origin.get("config", {})
    height, width = config.get("image_size", (0, 0))
    found = ModuleConfig((int(height), int(width)), int(config.get("classes", 0)))
    return found, bundle.origin.get("meaning", {})


def state_sha256(module: nn.Module) -> str:
    """Hash of a module's parameters and buffers, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor):
            plain = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
            digest.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _folded(network: nn.Module) -> dict[str, Tensor]:
    """State of every batch normalisation that passes on what it gets."""
    state: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            one, zero = torch.ones(module.num_features), torch.zeros(module.num_features)
            state[f"{name}.weight"], state[f"{name}.bias"] = (1 + module.eps) ** 0.5 * one, zero
            state[f"{name}.running_mean"], state[f"{name}.running_var"] = zero, one
            state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return state
