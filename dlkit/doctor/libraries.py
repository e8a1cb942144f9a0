"""Which libraries are installed, in which version, and whether they import.

Versions come from the installed distributions. torch and its company are not imported, which
would cost seconds; the inference libraries are, because a wheel may be a placeholder.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections import defaultdict
from dataclasses import dataclass
from importlib import metadata

from dlkit.doctor.examination import Finding, Library
from dlkit.runtime.backends._onnx_wheel import WHEEL

_TRAIN = "pip install 'dlkit-vision[train]'"
_ENGINES = "run TensorRT engines"


@dataclass(frozen=True)
class _Wanted:
    """A library, the distributions that may carry it, and what it is for.

    Attributes:
        quick: it is imported to see whether that works.
        required: dlkit cannot run a model without it.
        one_wheel: its distributions install the same files, so only one may be there.
        keep: the one that stays then, if it is installed.
    """

    module: str
    wheels: tuple[str, ...]
    purpose: str
    install: str
    quick: bool = False
    required: bool = False
    one_wheel: bool = False
    keep: str = ""


_LIBRARIES = (
    _Wanted("numpy", ("numpy",), "everything", "pip install numpy", quick=True, required=True),
    _Wanted(
        "cv2",
        (
            "opencv-python-headless",
            "opencv-python",
            "opencv-contrib-python-headless",
            "opencv-contrib-python",
        ),
        "read and write images",
        "pip install opencv-python-headless",
        quick=True,
        required=True,
        one_wheel=True,
        keep="opencv-python-headless",
    ),
    _Wanted(
        "onnxruntime",
        ("onnxruntime-gpu", "onnxruntime", "onnxruntime-directml", "onnxruntime-openvino"),
        "run bundles",
        f"pip install {WHEEL}",
        quick=True,
        one_wheel=True,
        keep=WHEEL,
    ),
    _Wanted(
        "openvino",
        ("openvino",),
        "run bundles, faster on Intel",
        "pip install 'dlkit-vision[openvino]'",
        quick=True,
    ),
    _Wanted(
        "tensorrt",
        ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
        f"build and {_ENGINES}",
        "pip install 'dlkit-vision[tensorrt]'",
        quick=True,
    ),
    _Wanted(
        "tensorrt_rtx",
        ("tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx"),
        f"build engines without a GPU; {_ENGINES}",
        "pip install 'dlkit-vision[tensorrt-rtx]'",
        quick=True,
    ),
    _Wanted("cuda.bindings", ("cuda-bindings",), _ENGINES, "pip install cuda-bindings"),
    _Wanted("torch", ("torch",), "train, export, verify", _TRAIN),
    _Wanted("torchvision", ("torchvision",), "train on MNIST", _TRAIN),
    _Wanted("onnx", ("onnx",), "export", _TRAIN),
    _Wanted("onnxscript", ("onnxscript",), "export", _TRAIN),
)


def look(findings: list[Finding]) -> list[Library]:
    """Every library that dlkit uses, installed or not."""
    versions: dict[str, set[str]] = defaultdict(set)
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a half-removed distribution has no metadata
            versions[_normal(name)].add(distribution.version)
    return [_library(wanted, versions, findings) for wanted in _LIBRARIES]


def _library(wanted: _Wanted, versions: dict[str, set[str]], findings: list[Finding]) -> Library:
    wheels = [name for name in wanted.wheels if name in versions]
    version = sorted(versions[wheels[0]])[-1] if wheels else None
    imports, error = None, None
    present = _present(wanted.module)
    if wheels and not present:
        imports, error = False, f"the module {wanted.module} is not there"
    elif present and wanted.quick:
        try:
            module = importlib.import_module(wanted.module)
            imports = True
            version = version or str(getattr(module, "__version__", "unknown"))
        except Exception as problem:  # whatever a broken library raises is what is reported
            imports = False
            error = (str(problem).strip() or type(problem).__name__).partition("\n")[0]
            version = version or "unknown"
    elif present:
        version = version or "unknown"
    if wanted.one_wheel and len(wheels) > 1:
        kept = wanted.keep if wanted.keep in wheels else wheels[0]
        findings.append(
            Finding(
                wanted.module,
                f"{' and '.join(wheels)} are both installed and overwrite each other's files",
                f"Run: pip uninstall -y {' '.join(wheels)} && pip install {kept}",
            )
        )
    elif imports is False:
        away = f"pip uninstall -y {' '.join(wheels)}; " if wheels else ""
        mend = f"Run: {away}{wanted.install}"
        findings.append(
            Finding(wanted.module, f"it is installed but does not import: {error}", mend)
        )
    elif version is None and wanted.required:
        findings.append(
            Finding(
                wanted.module,
                f"it is missing; needed to {wanted.purpose}",
                f"Run: {wanted.install}",
            )
        )
    return Library(
        module=wanted.module,
        wheels=[f"{name} {', '.join(sorted(versions[name]))}" for name in wheels],
        version=version,
        imports=imports,
        error=error,
        purpose=wanted.purpose,
        install=wanted.install,
    )


def _present(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # its parent is missing or broken
        return False


def _normal(name: str) -> str:
    """One spelling of a distribution's name (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()
