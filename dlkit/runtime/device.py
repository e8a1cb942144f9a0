"""Which NVIDIA GPUs the driver sees, without any CUDA library."""

from __future__ import annotations

import ctypes
import functools
import sys

_CUDA_SUCCESS = 0
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@functools.cache
def no_cuda() -> str | None:
    """Why CUDA cannot be used here; None when the driver reports at least one GPU.

    Asks the driver library itself (CUDA Driver API: cuInit, cuDeviceGetCount).
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return "no NVIDIA driver on this machine; install one, or use --device cpu"
    count = ctypes.c_int(0)
    if (code := driver.cuInit(0)) != _CUDA_SUCCESS:
        return f"the NVIDIA driver does not start (cuInit gives {code}); see nvidia-smi"
    if driver.cuDeviceGetCount(ctypes.byref(count)) != _CUDA_SUCCESS or count.value == 0:
        return "the NVIDIA driver sees no GPU; see nvidia-smi, or use --device cpu"
    return None


@functools.cache
def compute_capability(index: int = 0) -> str | None:
    """Compute capability of a GPU, e.g. ``8.9``; None when there is none.

    CUDA Driver API: cuDeviceGetAttribute with CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR (75)
    and _MINOR (76).
    """
    if no_cuda() is not None:
        return None
    driver = ctypes.CDLL(_DRIVER)
    device, value = ctypes.c_int(), ctypes.c_int()
    if driver.cuDeviceGet(ctypes.byref(device), index) != _CUDA_SUCCESS:
        return None
    parts = []
    for attribute in (75, 76):
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device) != _CUDA_SUCCESS:
            return None
        parts.append(str(value.value))
    return ".".join(parts)


@functools.cache
def gpu_name(index: int = 0) -> str | None:
    """Name of a GPU, e.g. ``NVIDIA L4``; None when there is none (cuDeviceGetName)."""
    if no_cuda() is not None:
        return None
    driver = ctypes.CDLL(_DRIVER)
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuDeviceGet(ctypes.byref(device), index) != _CUDA_SUCCESS:
        return None
    if driver.cuDeviceGetName(name, len(name), device) != _CUDA_SUCCESS:
        return None
    return name.value.decode(errors="replace")
