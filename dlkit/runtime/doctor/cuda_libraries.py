"""The CUDA libraries that ONNX Runtime's CUDA provider needs, and where they are on Linux.

Which they are is read from the provider itself, so it is right for any release. ONNX Runtime looks
for them in the nvidia wheels first, then where the system's loader does (``preload_dlls``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from dlkit.runtime.doctor.elf import needed
from dlkit.runtime.doctor.gpu import Driver
from dlkit.runtime.doctor.libraries import ONNXRUNTIME
from dlkit.runtime.doctor.report import Cuda, Finding

_PROVIDER = "libonnxruntime_providers_cuda.so"
_OF_CUDA = re.compile(r"lib(cu|nv)(?!da\.so)")  # libcuda.so is the driver's own
# Loaded at run time since ONNX Runtime 1.31 (its pull request 29252); convolutions want it.
_CUDNN = "libcudnn.so.9"
# cuDNN's wheel brings cuBLAS.
_INSTALL = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
_CUDA_WHEEL = (
    "pip uninstall -y onnxruntime; pip install onnxruntime-gpu"
    if ONNXRUNTIME == "onnxruntime-gpu"
    else "install one with CUDA for this processor: onnxruntime.ai/docs/install"
)


def look(driver: Driver, onnxruntime: ModuleType | None, findings: list[Finding]) -> Cuda:
    """The whole of CUDA: the driver's part and ONNX Runtime's; what does not fit is a problem.

    Without a GPU nothing here is a problem.
    """
    built_for, libraries = "", {}
    if onnxruntime is not None:
        built_for = str(getattr(onnxruntime, "cuda_version", "") or "")
        folder = Path(str(onnxruntime.__file__)).parent
        if (folder / "capi" / _PROVIDER).is_file():
            libraries = _find(folder)
    cuda = Cuda(driver.why_none, driver.version, driver.supports, driver.gpus, built_for, libraries)
    if onnxruntime is None or not driver.gpus:
        return cuda
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        findings.append(
            Finding("onnxruntime", "this machine has a GPU, the wheel has no CUDA", _CUDA_WHEEL)
        )
        return cuda
    if driver.supports and built_for and _major(built_for) > _major(driver.supports):
        findings.append(
            Finding(
                "onnxruntime",
                f"it was built for CUDA {built_for}, the driver supports {driver.supports}",
                "update NVIDIA's driver, or install an ONNX Runtime for the driver's CUDA",
            )
        )
    missing = [name for name, path in libraries.items() if path is None]
    if required := [name for name in missing if name != _CUDNN]:
        findings.append(
            Finding("onnxruntime", f"CUDA cannot load: {', '.join(required)} missing", _INSTALL)
        )
    elif missing:
        findings.append(Finding("onnxruntime", f"{_CUDNN} is missing", _INSTALL, problem=False))
    return cuda


def _find(onnxruntime: Path) -> dict[str, str | None]:
    """Path of each library that the provider needs; None where it is nowhere."""
    names = [n for n in needed(onnxruntime / "capi" / _PROVIDER) if _OF_CUDA.match(n)]
    if _CUDNN not in names:
        names.append(_CUDNN)
    folders = sorted((onnxruntime.parent / "nvidia").glob("*/lib"))
    folders += [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
    system = _loader_cache()
    found: dict[str, str | None] = {}
    for name in names:
        here = next((folder / name for folder in folders if (folder / name).exists()), None)
        found[name] = str(here) if here else system.get(name)
    return found


def _loader_cache() -> dict[str, str]:
    """Path by name of what the system's loader knows: ``ldconfig -p``."""
    command = shutil.which("ldconfig") or "/sbin/ldconfig"
    if sys.platform != "linux" or not Path(command).exists():
        return {}
    done = subprocess.run([command, "-p"], capture_output=True, text=True, timeout=10, check=False)
    lines = (line.strip().partition(" ") for line in done.stdout.splitlines() if "=>" in line)
    return {name: rest.rpartition("=> ")[2] for name, _, rest in lines}


def _major(version: str) -> int:
    return int(version.partition(".")[0])
