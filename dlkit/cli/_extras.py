"""A clear word where a command needs an extra and it is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

# What each extra brings, by the names that its libraries are imported by.
_EXTRAS = {
    "train": {
        "filelock", "lightning_fabric", "matplotlib", "ml_dtypes", "onnx", "onnx_ir", "onnxscript",
        "platformdirs", "scipy", "skimage", "torch", "torchvision",
    },
    "serve": {
        "google.protobuf", "grpc", "grpc_health", "httptools", "prometheus_client", "starlette",
        "uvicorn",
    },
}  # fmt: skip


def training_installed(what: str) -> AbstractContextManager[None]:
    """Around imports of torch and its company; see ``_installed``."""
    return _installed(what, "train")


def serving_installed() -> AbstractContextManager[None]:
    """Around imports of the server; see ``_installed``."""
    return _installed("serve", "serve")


@contextmanager
def _installed(what: str, extra: str) -> Iterator[None]:
    """Another module that is missing is a matter of who imports it, e.g. of a plug-in; so is one
    below a library that is here.

    Raises:
        UsageError: one of the extra's libraries is missing.
    """
    from dlkit.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        if not any(_lacks(library, str(error.name)) for library in _EXTRAS[extra]):
            raise
        raise UsageError(
            f"to {what} you need {error.name}", f"Install it: pip install 'dlkit-vision[{extra}]'"
        ) from error


def _lacks(library: str, missing: str) -> bool:
    """Whether a module is missing because the library is."""
    one, other = f"{library}.", f"{missing}."
    if not (one.startswith(other) or other.startswith(one)):
        return False
    try:
        return importlib.util.find_spec(library) is None
    except ModuleNotFoundError:  # not even what it lies in
        return True
