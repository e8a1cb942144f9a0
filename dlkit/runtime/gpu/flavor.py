"""The two flavours of TensorRT: ``tensorrt`` and ``tensorrt_rtx``, one API under two names.

What differs between them and between their versions is looked up by name, here, and nowhere else.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from types import ModuleType
from typing import Any

from dlkit.errors import BackendError
from dlkit.runtime.unavailable import Unavailable, several

FLAVORS = ("tensorrt", "tensorrt_rtx")
_INSTALL = {
    "tensorrt": "Run: pip install 'dlkit-vision[tensorrt]'",
    "tensorrt_rtx": "Run: pip install 'dlkit-vision[tensorrt-rtx]', which builds without a GPU too",
}

# TensorRT's names of the types that graphs take and give. Of float64 its parser makes float32.
TYPES = {
    "float32": "FLOAT", "float16": "HALF", "bfloat16": "BF16", "int8": "INT8", "uint8": "UINT8",
    "int32": "INT32", "int64": "INT64", "bool": "BOOL",
}  # fmt: skip


@functools.cache
def why_not(name: str) -> Unavailable | None:
    """Why a flavour cannot be used here; None when it can."""
    if name not in FLAVORS:
        return Unavailable(f"unknown TensorRT flavour '{name}'", f"Use one of {', '.join(FLAVORS)}")
    if importlib.util.find_spec(name) is None:
        return Unavailable(f"{name} is not installed", _INSTALL[name])
    try:
        trt = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # a placeholder without its libraries
        line = str(error).strip().partition("\n")[0]
        return Unavailable(f"{name} is installed but does not load ({line})", _INSTALL[name])
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        what = f"{name} {trt.__version__} is too old, 10.0 or newer is needed"
        return Unavailable(what, _INSTALL[name])
    return None


def load_flavor(name: str | None = None) -> ModuleType:
    """A flavour's module: the one that is named, else the first that works here.

    Raises:
        BackendError: it is unknown or cannot be used, with the mend.
    """
    reasons: dict[str, Unavailable] = {}
    for candidate in FLAVORS if name is None else (name,):
        reason = why_not(candidate)
        if reason is None:
            return importlib.import_module(candidate)
        reasons[candidate] = reason
    why = several(reasons)
    raise BackendError(f"no TensorRT here: {why.what}", why.mend)


@functools.cache
def logger(trt: ModuleType) -> Any:
    """The process's one logger of a flavour: it keeps the last error instead of printing.

    TensorRT takes the first logger of a process for all that follow, so there is only one.
    Its attribute ``last`` is the last error's text.
    """

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.last = "no reason given"

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last = message

    return Logger()
