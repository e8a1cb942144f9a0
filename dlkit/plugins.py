"""Plug-ins found by file name: a module in a package is a plug-in of that name.

Names are listed without importing anything, so a list costs nothing and a plug-in whose
library is missing hurts nobody until somebody asks for it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from dlkit.errors import UsageError


@dataclass(frozen=True)
class Plugins:
    """The plug-ins of one package.

    Attributes:
        package: dotted name, e.g. ``dlkit.runtime.backends``.
        kind: what one of them is called in messages, e.g. ``backend``.
    """

    package: str
    kind: str

    def names(self) -> list[str]:
        """Sorted names of all plug-ins; modules that start with an underscore are private."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.submodule_search_locations is None:
            raise UsageError(f"{self.package} is not a package with plug-ins")
        found = pkgutil.iter_modules(list(spec.submodule_search_locations))
        return sorted(module.name for module in found if not module.name.startswith("_"))

    def load(self, name: str) -> ModuleType:
        """Import one plug-in.

        Raises:
            UsageError: there is none of that name; close names are suggested.
        """
        names = self.names()
        if name not in names:
            raise UsageError(unknown(self.kind, name, names))
        return importlib.import_module(f"{self.package}.{name}")


def unknown(kind: str, name: str, names: list[str]) -> str:
    """One line that says that ``name`` is unknown, which names are close, and which exist."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"unknown {kind} '{name}': {hint}There are: {', '.join(names)}"
