"""OpenVINO, on a CPU that has bfloat16: float32 graphs computed in it, nearly twice as fast.

A backend of its own, so that nobody gets another arithmetic than the graph's in silence: it is
verified and benchmarked by itself, and ``auto`` takes it only for a bundle whose certificate has
its row.
"""

from __future__ import annotations

from typing import ClassVar

from dlkit.bundle import Bundle
from dlkit.errors import UsageError
from dlkit.runtime.backends._openvino_core import core
from dlkit.runtime.backends.openvino import OpenVinoBackend, OpenVinoSession
from dlkit.runtime.session import Unavailable
from dlkit.tasks import TASKS


class OpenVinoBf16Backend(OpenVinoBackend):
    """OpenVINO in bfloat16."""

    name = "openvino_bf16"
    arithmetic = "bf16"

    def preference(self, bundle: Bundle) -> int:
        """Its place in ``auto``'s order."""
        # A small network, of digits, is too small to gain.
        try:
            pays = TASKS.load(bundle.spec.task).bfloat16_pays and bundle.spec.precision == "fp32"
        except UsageError:  # a plug-in's task that is not installed: the graph runs all the same
            pays = False
        return 5 if pays and bundle.uncertified(bundle.sha256, self.name) is None else 30

    def unavailable(self, bundle: Bundle, device: str) -> Unavailable | None:
        """Why it cannot run the bundle on the device; None when it should."""
        if bundle.spec.precision != "fp32":
            return Unavailable(
                f"openvino_bf16 is for fp32 bundles, this one is {bundle.spec.precision}",
                "Use --backend openvino",
            )
        if reason := super().unavailable(bundle, device):
            return reason
        try:
            types = list(core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        except (ImportError, AttributeError, RuntimeError) as error:
            return Unavailable(
                f"openvino does not load: {type(error).__name__}: {error}",
                "Install it again: pip install --force-reinstall openvino",
            )
        if "BF16" in types:
            return None
        return Unavailable("this processor has no bfloat16", "Use --backend openvino")

    def open(self, bundle: Bundle, device: str, threads: int, callers: int) -> OpenVinoBf16Session:
        """Load the bundle."""
        return OpenVinoBf16Session(bundle, threads, callers)


class OpenVinoBf16Session(OpenVinoSession):
    """A float32 model in OpenVINO, computed in bfloat16."""

    backend = "openvino_bf16"
    arithmetic = "bf16"
    hints: ClassVar[dict[str, str]] = {"INFERENCE_PRECISION_HINT": "bf16"}


BACKEND = OpenVinoBf16Backend()
