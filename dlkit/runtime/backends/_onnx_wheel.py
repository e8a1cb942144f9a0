"""Which wheel of ONNX Runtime is for this machine, as pyproject.toml chooses."""

from __future__ import annotations

import platform
import sys

# The wheel with CUDA exists for these systems and processors.
_HAS_CUDA = sys.platform in ("linux", "win32") and platform.machine() in ("x86_64", "AMD64")
WHEEL = "onnxruntime-gpu" if _HAS_CUDA else "onnxruntime"
WITH_CUDA = (
    "Run: pip uninstall -y onnxruntime; pip install --force-reinstall onnxruntime-gpu"
    if _HAS_CUDA
    else "Install one with CUDA for this processor: onnxruntime.ai/docs/install"
)
