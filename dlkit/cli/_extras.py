"""A clear word where a command needs the training extra and it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# What `pip install dlkit-vision[train]` brings, by the names they are imported by.
_EXTRA = frozenset(
    {
        "filelock",
        "lightning_fabric",
        "matplotlib",
        "ml_dtypes",
        "onnx",
        "onnx_ir",
        "onnxscript",
        "platformdirs",
        "skimage",
        "torch",
        "torchmetrics",
        "torchvision",
    }
)


@contextmanager
def training_installed(what: str) -> Iterator[None]:
    """Around imports of torch and its company.

    Another module that is missing is a matter of who imports it, e.g. of a plug-in.

    Raises:
        UsageError: one of them is missing.
    """
    from dlkit.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise UsageError(
            f"to {what} you need {error.name}", "Install it: pip install 'dlkit-vision[train]'"
        ) from error


# What `pip install dlkit-vision[serve]` brings.
_SERVE = frozenset(
    {"google", "grpc", "grpc_health", "httptools", "prometheus_client", "starlette", "uvicorn"}
)


@contextmanager
def serving_installed() -> Iterator[None]:
    """Around imports of the server.

    Raises:
        UsageError: one of its libraries is missing.
    """
    from dlkit.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SERVE:
            raise
        raise UsageError(
            f"to serve you need {error.name}", "Install it: pip install 'dlkit-vision[serve]'"
        ) from error
