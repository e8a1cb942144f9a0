"""Which NVIDIA GPUs the driver sees, without any CUDA library."""

from __future__ import annotations

import ctypes
import functools
import sys

_CUDA_SUCCESS = 0


@functools.cache
def no_cuda() -> str | None:
    """Why CUDA cannot be used here; None when the driver reports at least one GPU.

    Asks the driver library itself (CUDA Driver API: cuInit, cuDeviceGetCount).
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return "no NVIDIA driver on this machine; install one, or use --device cpu"
    count = ctypes.c_int(0)
    if (code := driver.cuInit(0)) != _CUDA_SUCCESS:
        return f"the NVIDIA driver does not start (cuInit gives {code}); see nvidia-smi"
    if driver.cuDeviceGetCount(ctypes.byref(count)) != _CUDA_SUCCESS or count.value == 0:
        return "the NVIDIA driver sees no GPU; see nvidia-smi, or use --device cpu"
    return None
