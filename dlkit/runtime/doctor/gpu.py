"""The NVIDIA driver and its GPUs, asked of the driver's own libraries; no CUDA toolkit is needed.

Sources: CUDA Driver API (cuDriverGetVersion, cuDeviceGetName, cuDeviceTotalMem,
cuDeviceGetAttribute), NVML API (nvmlSystemGetDriverVersion).
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from dlkit.runtime.device import no_cuda
from dlkit.runtime.doctor.report import Finding, Gpu

_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_PCI = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"  # PCI vendor, PCI base class of display controllers


@dataclass(frozen=True)
class Driver:
    """What the driver says; ``why_none`` is None when it has a GPU."""

    why_none: str | None
    version: str | None = None
    supports: str | None = None
    gpus: list[Gpu] = field(default_factory=list)


def look(findings: list[Finding]) -> Driver:
    """The driver's version, the CUDA version that it supports, and its GPUs."""
    if (reason := no_cuda()) is not None:
        if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
            findings.append(
                Finding(
                    "GPU",
                    "CUDA_VISIBLE_DEVICES hides every GPU",
                    "unset CUDA_VISIBLE_DEVICES",
                    problem=False,
                )
            )
        elif on_the_bus(_PCI):
            findings.append(
                Finding(
                    "GPU",
                    "an NVIDIA card is on the PCI bus, but no driver reaches it",
                    "install NVIDIA's driver; start a container with --gpus all",
                    problem=False,
                )
            )
        return Driver(reason, _driver_version())
    cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    number = ctypes.c_int(0)
    _check(cuda.cuDriverGetVersion(ctypes.byref(number)), "cuDriverGetVersion")
    # 1000 * major + 10 * minor
    supports = f"{number.value // 1000}.{number.value % 1000 // 10}"
    _check(cuda.cuDeviceGetCount(ctypes.byref(number)), "cuDeviceGetCount")
    gpus = [_gpu(cuda, index) for index in range(number.value)]
    return Driver(None, _driver_version(), supports, gpus)


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


def _gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    _check(cuda.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    _check(cuda.cuDeviceGetName(name, len(name), device), "cuDeviceGetName")
    _check(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    for value, attribute in ((major, _COMPUTE_MAJOR), (minor, _COMPUTE_MINOR)):
        code = cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        _check(code, "cuDeviceGetAttribute")
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute=f"{major.value}.{minor.value}",
        memory=memory.value,
    )


def _check(code: int, call: str) -> None:
    if code != 0:  # CUDA_SUCCESS
        raise RuntimeError(f"{call} gives {code}")


def _driver_version() -> str | None:
    """Of the kernel's driver: from NVML, else from the file that the driver makes."""
    try:
        nvml = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
        text = ctypes.create_string_buffer(96)
        if nvml.nvmlInit_v2() == 0:
            try:
                if nvml.nvmlSystemGetDriverVersion(text, len(text)) == 0:
                    return text.value.decode(errors="replace")
            finally:
                nvml.nvmlShutdown()
    except (OSError, AttributeError):
        pass
    try:
        line = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", line)
    return found.group() if found else None
