"""dlkit: small vision networks from PyTorch to production.

    >>> import dlkit
    >>> with dlkit.load("digits") as digits:        # a bundle's folder, or a shipped one's name
    ...     digits.recognize([image])               # [Prediction(label='7', probability=0.9997)]
    ...     digits.read(page).text                  # '98 915114\\n02794', with boxes in .lines
    >>> with dlkit.load("mmwave") as scans:
    ...     scans.denoise([scan])                   # same sizes, dtypes and channels as came in
    ...     scans.run_folder("scans/", "cleaned/")
    >>> run = dlkit.train("lenet_relu", data="mnist-mini", out="runs/a")
    >>> bundle = dlkit.export(run, precision="fp16")
    >>> dlkit.verify(bundle).measured

Images are numpy arrays, uint8 or uint16, (H, W), (H, W, 3) BGR or (H, W, 4) BGRA. docs/api.md has
every function with an example.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlkit.bench.run import bench as bench
    from dlkit.bundle import Bundle as Bundle
    from dlkit.bundle import Certificate as Certificate
    from dlkit.bundle.engine import Engine as Engine
    from dlkit.errors import BackendError as BackendError
    from dlkit.errors import BundleError as BundleError
    from dlkit.errors import DlkitError as DlkitError
    from dlkit.errors import ExportError as ExportError
    from dlkit.errors import InputError as InputError
    from dlkit.errors import MachineError as MachineError
    from dlkit.errors import TrainingError as TrainingError
    from dlkit.errors import UsageError as UsageError
    from dlkit.errors import VerifyError as VerifyError
    from dlkit.export.api import build_engine as build_engine
    from dlkit.export.api import evaluate as evaluate
    from dlkit.export.api import export as export
    from dlkit.export.api import verify as verify
    from dlkit.export.pixels import Pixels as Pixels
    from dlkit.graph.inspect import inspect as inspect
    from dlkit.runtime.model import load as load
    from dlkit.runtime.session import Backend as Backend
    from dlkit.spec import ModelSpec as ModelSpec
    from dlkit.spec import TensorSpec as TensorSpec
    from dlkit.tasks import Model as Model
    from dlkit.tasks import Session as Session
    from dlkit.tasks import Task as Task
    from dlkit.training.architecture import Architecture as Architecture
    from dlkit.training.engine.run import Run as Run
    from dlkit.training.engine.start import train as train
    from dlkit.training.recipe import Recipe as Recipe

__version__ = "0.1.0"

# Where each public name is. They are loaded when they are first used, so that `import dlkit` and
# `dlkit --help` load neither numpy nor OpenCV, and a machine that only deploys needs no torch.
_PLACES = {
    "bench": "bench.run",
    "Bundle": "bundle",
    "Certificate": "bundle",
    "Engine": "bundle.engine",
    **dict.fromkeys(
        (
            "BackendError",
            "BundleError",
            "DlkitError",
            "ExportError",
            "InputError",
            "MachineError",
            "TrainingError",
            "UsageError",
            "VerifyError",
        ),
        "errors",
    ),
    **dict.fromkeys(("build_engine", "evaluate", "export", "verify"), "export.api"),
    "Pixels": "export.pixels",
    "inspect": "graph.inspect",
    "load": "runtime.model",
    "Backend": "runtime.session",
    "ModelSpec": "spec",
    "TensorSpec": "spec",
    **dict.fromkeys(("Model", "Session", "Task"), "tasks"),
    "Architecture": "training.architecture",
    "Run": "training.engine.run",
    "train": "training.engine.start",
    "Recipe": "training.recipe",
}

__all__ = ["__version__", *sorted(_PLACES)]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'dlkit' has no attribute '{name}'")
    importlib.import_module("dlkit.environment").check()
    return getattr(importlib.import_module(f"dlkit.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """The package ``dlkit``, in which ``bench`` and ``export`` stay functions: importing the
    folders of these names would else put a module in the place of each."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
