"""The NVIDIA driver and its GPUs, asked of the driver's own libraries; no CUDA toolkit is needed.

Sources: CUDA Driver API (cuInit, cuDriverGetVersion, cuDeviceGetCount, cuDeviceGetName,
cuDeviceTotalMem, cuDeviceGetAttribute), NVML API (nvmlSystemGetDriverVersion).
"""

from __future__ import annotations

import ctypes
import functools
import sys
from contextlib import suppress
from dataclasses import dataclass

from dlkit.runtime.unavailable import Unavailable

_WINDOWS = sys.platform == "win32"
_CUDA = "nvcuda.dll" if _WINDOWS else "libcuda.so.1"
_NVML = "nvml.dll" if _WINDOWS else "libnvidia-ml.so.1"
_SUCCESS = 0  # CUDA_SUCCESS and NVML_SUCCESS
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    Attributes:
        name: e.g. ``NVIDIA L4``.
        compute: compute capability, e.g. ``8.9``.
        memory: in bytes.
    """

    name: str
    compute: str
    memory: int


@dataclass(frozen=True)
class Driver:
    """What the driver says.

    Attributes:
        why_none: why CUDA cannot be used; None when there is at least one GPU.
        broken: there are GPUs, and the driver does not answer about them.
        supports: newest CUDA that it runs, e.g. ``13.0``.
        gpus: those that it shows this process, in CUDA's order.
    """

    why_none: Unavailable | None
    broken: bool = False
    supports: str | None = None
    gpus: tuple[Gpu, ...] = ()


@functools.cache
def driver() -> Driver:
    """Ask the driver, once a process."""
    try:
        cuda = ctypes.CDLL(_CUDA)
    except OSError:
        mend = "Install one, or use --device cpu"
        return Driver(Unavailable("no NVIDIA driver on this machine", mend))
    number = ctypes.c_int(0)
    if (code := cuda.cuInit(0)) != _SUCCESS:
        what = f"the NVIDIA driver does not start (cuInit gives {code})"
        return Driver(Unavailable(what, "See nvidia-smi"))
    if cuda.cuDeviceGetCount(ctypes.byref(number)) != _SUCCESS or number.value == 0:
        what = "the NVIDIA driver sees no GPU"
        return Driver(Unavailable(what, "See nvidia-smi, or use --device cpu"))
    try:
        gpus = tuple(_gpu(cuda, index) for index in range(number.value))
        _check(cuda.cuDriverGetVersion(ctypes.byref(number)), "cuDriverGetVersion")
    except _RefusedError as refused:
        what = f"the NVIDIA driver does not answer ({refused})"
        return Driver(Unavailable(what, "See nvidia-smi"), broken=True)
    # 1000 * major + 10 * minor
    return Driver(None, False, f"{number.value // 1000}.{number.value % 1000 // 10}", gpus)


def no_cuda() -> Unavailable | None:
    """Why CUDA cannot be used here; None when the driver reports at least one GPU."""
    return driver().why_none


def compute_capability(index: int = 0) -> str | None:
    """Compute capability of a GPU, e.g. ``8.9``; None when there is none."""
    gpus = driver().gpus
    return gpus[index].compute if index < len(gpus) else None


def gpu_name(index: int = 0) -> str | None:
    """Name of a GPU, e.g. ``NVIDIA L4``; None when there is none."""
    gpus = driver().gpus
    return gpus[index].name if index < len(gpus) else None


def driver_version() -> str | None:
    """Version of the kernel's driver, e.g. ``580.65.06``; None where NVML does not tell."""
    text = ctypes.create_string_buffer(96)
    with suppress(OSError, AttributeError):  # no NVML, or none that has these calls
        nvml = ctypes.CDLL(_NVML)
        if nvml.nvmlInit_v2() == _SUCCESS:
            try:
                if nvml.nvmlSystemGetDriverVersion(text, len(text)) == _SUCCESS:
                    return text.value.decode(errors="replace")
            finally:
                nvml.nvmlShutdown()
    return None


class _RefusedError(Exception):
    """A call of the driver that failed."""


def _gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name, memory = ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    _check(cuda.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    _check(cuda.cuDeviceGetName(name, len(name), device), "cuDeviceGetName")
    _check(cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    for value, attribute in ((major, _MAJOR), (minor, _MINOR)):
        code = cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        _check(code, "cuDeviceGetAttribute")
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute=f"{major.value}.{minor.value}",
        memory=memory.value,
    )


def _check(code: int, call: str) -> None:
    if code != _SUCCESS:
        raise _RefusedError(f"{call} gives {code}")
