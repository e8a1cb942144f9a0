"""Versions of what is installed, for reports and certificates."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable

# Distributions that can change a number or a time, where they are installed.
LIBRARIES = (
    "dlkit-vision", "numpy", "opencv-python-headless", "torch", "torchvision", "scipy",
    "lightning-fabric", "scikit-image", "onnx", "onnx-ir", "onnxscript", "onnxruntime",
    "onnxruntime-gpu", "openvino", "tensorrt", "tensorrt_rtx_cu13", "cuda-bindings",
)  # fmt: skip


def installed(distributions: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Version of Python, and of each distribution that is installed."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def of_modules(modules: Iterable[str]) -> dict[str, str]:
    """Version of each module's distribution, where one is installed."""
    owners = importlib.metadata.packages_distributions()
    return {
        owner: importlib.metadata.version(owner)
        for module in modules for owner in owners.get(module, [])
    }  # fmt: skip
