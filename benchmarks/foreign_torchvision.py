"""Networks of torchvision as ONNX files, by both of torch's exporters with their defaults.

Trained weights cannot be fetched everywhere: weights are random, from a fixed seed, and batch
normalisation has statistics of photographs.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import foreign_inputs

_SEED = 0
_BATCHES, _BATCH = 3, 4  # that batch normalisation sees
Inputs = dict[str, tuple[str, tuple[int, ...]]]

_CLASSIFY: Inputs = {"x": ("photo", (1, 3, 224, 224))}
_DETECT: Inputs = {"x": ("photo_01", (1, 3, 320, 320))}
_DENSE: Inputs = {"x": ("photo", (1, 3, 192, 256))}
_PAIR: Inputs = {"first": ("photo", (1, 3, 128, 160)), "second": ("photo_moved", (1, 3, 128, 160))}
_BARE = {"weights": None, "weights_backbone": None, "num_classes": 21}
# As vit_b_16, with a quarter of its weights.
_VIT = {"image_size": 224, "patch_size": 16, "num_layers": 6, "num_heads": 6, "hidden_dim": 384,
        "mlp_dim": 1536}  # fmt: skip
# In torchvision.models: what makes it, its settings, what it takes.
NETWORKS: dict[str, tuple[str, dict[str, Any], Inputs]] = {
    "resnet18": ("resnet18", {}, _CLASSIFY),
    "mobilenet_v3_small": ("mobilenet_v3_small", {}, _CLASSIFY),
    "efficientnet_b0": ("efficientnet_b0", {}, _CLASSIFY),
    "convnext_tiny": ("convnext_tiny", {}, _CLASSIFY),
    "shufflenet_v2": ("shufflenet_v2_x1_0", {}, _CLASSIFY),
    "vit_small": ("VisionTransformer", _VIT, _CLASSIFY),
    "swin_t": ("swin_t", {}, _CLASSIFY),
    "googlenet": ("googlenet", {"aux_logits": False, "init_weights": False}, _CLASSIFY),
    "densenet121": ("densenet121", {}, _CLASSIFY),
    "squeezenet1_1": ("squeezenet1_1", {}, _CLASSIFY),
    "regnet_y_400mf": ("regnet_y_400mf", {}, _CLASSIFY),
    "deeplabv3_mobilenet": ("segmentation.deeplabv3_mobilenet_v3_large", _BARE, _DENSE),
    "lraspp_mobilenet": ("segmentation.lraspp_mobilenet_v3_large", _BARE, _DENSE),
    "raft_small": ("optical_flow.raft_small", {}, _PAIR),
    "ssdlite320": ("detection.ssdlite320_mobilenet_v3_large", _BARE, _DETECT),
    "fasterrcnn_mobilenet": ("detection.fasterrcnn_mobilenet_v3_large_320_fpn", _BARE, _DETECT),
}
# torch.onnx.export by its defaults, and with dynamo=False; one file of those has a free batch.
EXPORTERS = ("dynamo", "script")
_FREE_BATCH = "resnet18-script"


def names() -> list[str]:
    """``NETWORK-EXPORTER``."""
    return [f"{network}-{exporter}" for network in NETWORKS for exporter in EXPORTERS]


def export(name: str, folder: Path) -> Inputs:
    """Write ``model.onnx``; gives what it takes.

    Raises:
        RuntimeError: torch cannot export the network.
    """
    import torch
    import torchvision

    network, exporter = name.rsplit("-", 1)
    maker, settings, inputs = NETWORKS[network]
    make: Any = torchvision.models
    for part in maker.split("."):
        make = getattr(make, part)
    torch.manual_seed(_SEED)
    module = make(**settings).eval()
    with torch.no_grad():
        _settle(module, inputs)
    example = tuple(map(torch.from_numpy, foreign_inputs.call(inputs, 0).values()))
    options: dict[str, Any] = {} if exporter == "dynamo" else {"dynamo": False}
    if name == _FREE_BATCH:
        options["dynamic_axes"] = {"x": {0: "batch"}}
    target = str(folder / "model.onnx")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, example, target, input_names=list(inputs), **options)
    except Exception as error:  # the exporters' errors have no common base
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise RuntimeError(f"torch cannot export {name}: {reason}") from error
    return inputs


def _settle(module: Any, inputs: Inputs) -> None:
    """Let random weights give activations of a sensible size."""
    import torch

    for parameter in module.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)  # torchvision starts some heads with zeros
    norms = [one for one in module.modules() if hasattr(one, "running_mean") and
             isinstance(one, torch.nn.Module) and hasattr(one, "momentum")]  # fmt: skip
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True  # the mean over all batches
    larger = {name: (kind, (_BATCH, *shape[1:])) for name, (kind, shape) in inputs.items()}
    for batch in range(_BATCHES if norms else 0):
        module(*map(torch.from_numpy, foreign_inputs.call(larger, batch).values()))
    module.eval()
