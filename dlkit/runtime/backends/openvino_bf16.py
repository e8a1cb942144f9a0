"""OpenVINO, on a CPU that has bfloat16: float32 graphs computed in it, nearly twice as fast.

A backend of its own, so that nobody gets another arithmetic than the graph's in silence: it is
verified and benchmarked by itself, and ``auto`` takes it only for a bundle whose certificate has
its row.
"""

from __future__ import annotations

from typing import ClassVar

from dlkit.bundle import Bundle
from dlkit.runtime.backends import openvino

DEVICES = ("cpu",)
ARITHMETIC = "bf16"


def preference(bundle: Bundle) -> int:
    """Its place in ``auto``'s order."""
    # Measured (docs/int8.md): scans take 0.6 times as long as in float32; a digit's network is
    # too small to gain.
    scans = bundle.spec.task == "denoise" and bundle.spec.precision == "fp32"
    return 5 if scans and bundle.uncertified(bundle.sha256, "openvino_bf16") is None else 30


def unavailable(bundle: Bundle, device: str) -> str | None:
    """Why it cannot run the bundle on the device; None when it should."""
    if bundle.spec.precision != "fp32":
        return f"openvino_bf16 is for fp32 bundles, this one is {bundle.spec.precision}"
    if reason := openvino.unavailable(bundle, device):
        return reason
    try:
        types = openvino.capabilities()
    except (ImportError, AttributeError, RuntimeError) as error:
        return f"openvino does not load: {type(error).__name__}: {error}"
    return None if "BF16" in types else "this processor has no bfloat16; use openvino"


class OpenVinoBf16Session(openvino.OpenVinoSession):
    """A float32 model in OpenVINO, computed in bfloat16."""

    backend = "openvino_bf16"
    arithmetic: ClassVar[dict[str, str]] = {"INFERENCE_PRECISION_HINT": "bf16"}


def open_session(bundle: Bundle, device: str, threads: int, callers: int) -> OpenVinoBf16Session:
    """Load the bundle."""
    return OpenVinoBf16Session(bundle, device, threads, callers)
