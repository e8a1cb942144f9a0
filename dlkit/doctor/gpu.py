"""The NVIDIA driver and its GPUs, and why they may be out of reach."""

from __future__ import annotations

import os
from pathlib import Path

from dlkit.doctor.examination import Finding
from dlkit.runtime.gpu.driver import Driver, driver

_PCI = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"  # PCI vendor, PCI base class of display controllers


def look(findings: list[Finding]) -> Driver:
    """What the driver says. That there is no GPU is no problem; one out of reach is noted."""
    found = driver()
    if found.why_none is None:
        return found
    if found.broken:
        findings.append(Finding("GPU", found.why_none.what, found.why_none.mend))
    elif os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        what = "CUDA_VISIBLE_DEVICES hides every GPU"
        findings.append(Finding("GPU", what, "Run: unset CUDA_VISIBLE_DEVICES", problem=False))
    elif on_the_bus(_PCI):
        what = "an NVIDIA card is on the PCI bus, but no driver reaches it"
        mend = "Install NVIDIA's driver; start a container with --gpus all"
        findings.append(Finding("GPU", what, mend, problem=False))
    return found


def on_the_bus(devices: Path) -> bool:
    """Whether an NVIDIA display controller is among the PCI devices of a sysfs folder."""
    for device in devices.glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:
            continue
        if vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY):
            return True
    return False
