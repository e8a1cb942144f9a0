"""The certificate of a bundle: what was measured, with which libraries, on which machine."""

from __future__ import annotations

import datetime
import platform
from dataclasses import asdict
from typing import Any

from dlkit.bundle import Bundle
from dlkit.export.verify import Verification
from dlkit.runtime.device import gpu_name
from dlkit.runtime.processors import cpu_count, processor_name
from dlkit.versions import installed

# Distributions whose versions a certificate names, where they are installed.
_LIBRARIES = (
    "torch", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
    "tensorrt_rtx_cu13", "numpy",
)  # fmt: skip


def certify(bundle: Bundle, result: Verification) -> Bundle:
    """Write the certificate into model.json; where something is out of tolerance, none stays."""
    return bundle.with_certificate(_certificate(bundle, result) if result.within else {})


def _certificate(bundle: Bundle, result: Verification) -> dict[str, Any]:
    return {
        "onnx_sha256": bundle.sha256,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "reference": result.reference,
        "reference_metrics": result.reference_metrics,
        "data": {
            "name": result.data.name,
            "images": result.data.images,
            "sha256": result.data.fingerprint(),
        },
        "tolerances": {name: asdict(one) for name, one in result.tolerances.items()},
        "measured": [asdict(way) for way in result.ways],
        "versions": installed(_LIBRARIES),
        "hardware": {
            "machine": f"{platform.system()} {platform.machine()}",
            "processor": processor_name(),
            "processors": cpu_count(),
            "gpu": gpu_name(),
        },
    }
