"""A clear word where a command needs the training extra and it is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def training_installed(what: str) -> Iterator[None]:
    """Around imports of torch and its company.

    Raises:
        UsageError: one of them is missing.
    """
    from dlkit.errors import UsageError

    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dlkit"):
            raise
        raise UsageError(f"to {what} you need {error.name}: pip install 'dlkit[train]'") from error
