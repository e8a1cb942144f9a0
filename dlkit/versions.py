"""Versions of what is installed, for reports and certificates."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """Version of Python, and of each distribution that is installed."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
