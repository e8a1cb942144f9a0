"""Plug-ins: values of a type that a name stands for.

A name is one of

    lenet                     a file of dlkit's own package, or an entry point of another
    package.module:NAME       a value in a module that Python can import
    path/to/file.py           the one value of the kind in that file
    path/to/file.py:NAME      a value in that file

Names are listed without importing anything, so a list costs nothing and a plug-in whose library is
missing hurts nobody until somebody asks for it. Two plug-ins of one name are an error that names
both.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from dlkit.errors import DlkitError, UsageError
from dlkit.given import name_of

T = TypeVar("T")

_PYTHON = (str(Path(traceback.__file__).parent / "argparse"), "<frozen")  # they call sys.exit
_FROM_FILE = "dlkit_plugin_"  # modules of files that were named by their path


class MissingError(UsageError):
    """Nothing of that name is installed here: not that what is there fails, or is there twice."""


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The plug-ins of one kind.

    Attributes:
        kind: what one of them is called in messages, e.g. ``backend``.
        package: dotted name of dlkit's own, one a module, e.g. ``dlkit.runtime.backends``.
        group: entry points of other distributions, e.g. ``dlkit.backends``.
        type: class that every value is an instance of; it may be abstract.
        attribute: what a module of ``package`` calls its value, e.g. ``BACKEND``.
    """

    kind: str
    package: str
    group: str
    type: Any
    attribute: str

    def names(self) -> list[str]:
        """Sorted names of all that are built in or installed.

        Raises:
            UsageError: two plug-ins have one name.
        """
        entries = self._entries()
        for name in self._built_in():
            if name in entries:
                raise UsageError(
                    f"two {self.kind}s are called '{name}': {self.package}.{name} and "
                    f"{entries[name].value}",
                    "Name the second one as package.module:NAME and take its entry point away",
                )
        return sorted([*self._built_in(), *entries])

    def load(self, name: str) -> T:
        """The value that a name stands for.

        Raises:
            MissingError: there is none of that name (close names are suggested), or its module
                cannot be found.
            UsageError: two have that name, its module fails, or the value has another type.
        """
        place, colon, attribute = name_of(name, f"the {self.kind}").partition(":")
        if place.endswith(".py") or "/" in place:
            return self._pick(_load_file(Path(place)), attribute, name)
        if colon:
            return self._pick(self._import(place, name), attribute, name)
        names = self.names()
        if name not in names:
            error = unknown(self.kind, name, names)
            raise MissingError(error.what, error.mend)
        if name in self._built_in():
            module = importlib.import_module(f"{self.package}.{name}")
            return self._check(getattr(module, self.attribute), name)
        with of_others(name):
            value = self._entries()[name].load()
        return self._check(value, name)

    def reference(self, value: T, module: str) -> str:
        """The name by which ``load`` finds a value again.

        Args:
            module: name of the module that holds it.

        Raises:
            UsageError: the module has no such value: it was made on the fly.
        """
        holder = sys.modules.get(module)
        names = [name for name, one in vars(holder).items() if one is value] if holder else []
        if holder is None or not names:
            raise UsageError(
                f"the {self.kind} {value!r} is no value of {module}, so nobody could find it again",
                "Give it a name at the top level of the module",
            )
        if module.startswith(f"{self.package}.") and names[0] == self.attribute:
            return module.rpartition(".")[2]
        if module.startswith(_FROM_FILE) or (module == "__main__" and hasattr(holder, "__file__")):
            return f"{Path(str(holder.__file__)).resolve()}:{names[0]}"
        return f"{module}:{names[0]}"

    def _built_in(self) -> list[str]:
        spec = importlib.util.find_spec(self.package)
        assert spec is not None, self.package
        found = pkgutil.iter_modules(list(spec.submodule_search_locations or ()))
        return sorted(one.name for one in found if not one.name.startswith("_"))

    def _entries(self) -> dict[str, importlib.metadata.EntryPoint]:
        found: dict[str, importlib.metadata.EntryPoint] = {}
        for entry in _entry_points(tuple(sys.path)).select(group=self.group):
            other = found.setdefault(entry.name, entry)
            if other.value != entry.value:
                raise UsageError(
                    f"two installed {self.kind}s are called '{entry.name}': {other.value} and "
                    f"{entry.value}",
                    "Uninstall one of the packages",
                )
        return found

    def _import(self, module: str, name: str) -> ModuleType:
        try:
            with of_others(name):
                return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if _is_here(str(error.name)):
                return self._import(module, name)
            raise MissingError(
                f"{self.kind} '{name}': there is no module {error.name}",
                "Install the package that has it, or run from the folder that it is in",
            ) from error

    def _pick(self, module: ModuleType, attribute: str, name: str) -> T:
        if attribute:
            if not hasattr(module, attribute):
                known = [key for key, one in vars(module).items()
                         if isinstance(one, self.type) and not key.startswith("__")]  # fmt: skip
                raise unknown(f"{self.kind} in {name.partition(':')[0]}", attribute, known)
            return self._check(getattr(module, attribute), name)
        found = [key for key, value in vars(module).items() if isinstance(value, self.type)]
        if self.attribute in found:  # what is imported to build on does not count beside it
            found = [self.attribute]
        if len(found) != 1:
            there = ", ".join(found) or "none"
            raise UsageError(
                f"{name} holds {len(found)} {self.kind}s ({there}), expected one",
                f"Say which: {name.partition(':')[0]}:NAME",
            )
        return self._check(getattr(module, found[0]), name)

    def _check(self, value: Any, name: str) -> T:
        if not isinstance(value, self.type):
            raise UsageError(
                f"{self.kind} '{name}' is {type(value).__name__}, expected {self.type.__name__}"
            )
        found: T = value
        return found


@functools.cache
def _entry_points(path: tuple[str, ...]) -> Any:  # Python 3.11 has a type of its own for it
    """Those of what is installed below these folders: every distribution is read, in 30 ms."""
    return importlib.metadata.entry_points()


def load_attribute(name: str) -> Any:
    """A value of any kind by ``package.module:NAME`` or ``path/to/file.py:NAME``.

    Raises:
        UsageError: it is not there.
    """
    _, colon, attribute = name.partition(":")
    if not colon or not attribute:
        raise UsageError(f"'{name}' names nothing", "Write package.module:NAME or file.py:NAME")
    return Registry("value", "", "", object, "").load(name)


@contextmanager
def of_others(name: str, doing: str = "it is imported") -> Iterator[None]:
    """What goes wrong in a plug-in's module while it is imported, is said in one line with its
    place; that it ends the program, too. That there is no module passes.

    Args:
        doing: what is done with it.

    Raises:
        UsageError: the module fails.
    """
    try:
        yield
    except DlkitError:
        raise
    except (Exception, SystemExit) as error:
        wanted = name.partition(":")[0]
        if isinstance(error, ModuleNotFoundError) and f"{wanted}.".startswith(f"{error.name}."):
            raise
        said = str(error)
        if not isinstance(error, SyntaxError):  # which says where by itself
            places: list[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
            if isinstance(error, SystemExit):  # exit() and argparse end it in Python's own files
                places = [one for one in places if not one.filename.startswith(_PYTHON)] or places
            said += f" ({places[-1].filename}, line {places[-1].lineno})"
        raise UsageError(
            f"'{name}' fails while {doing}: {type(error).__name__}: {said}", "Mend it there"
        ) from error


def _is_here(package: str) -> bool:
    """Whether a package lies in the working directory, which is searched from then on, after all
    that is installed: ``python -m dlkit`` looks there, and so does ``dlkit``."""
    here = str(Path.cwd())
    if "." in package or here in sys.path or sys.flags.safe_path:
        return False
    if importlib.machinery.PathFinder.find_spec(package, [here]) is None:
        return False
    sys.path.append(here)
    return True


def _load_file(path: Path) -> ModuleType:
    """A Python file as a module, whatever it is called: it takes nobody's place.

    Raises:
        MissingError: there is no such file.
        UsageError: it is no Python file, or fails.
    """
    path = path.resolve()
    if not path.is_file():
        raise MissingError(f"there is no file {path}")
    main = getattr(sys.modules["__main__"], "__file__", None)
    if main is not None and Path(main).resolve() == path:
        return sys.modules["__main__"]  # a script that is running must not be run again
    name = f"{_FROM_FILE}{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file, whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # as `python path/to/file.py` has it: a file may import its neighbours
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        with of_others(str(path)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def unknown(kind: str, name: str, names: list[str]) -> UsageError:
    """The error that says that ``name`` is unknown, which names are close, and which exist."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    mend = f"{hint}There are: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {kind} '{name[:100]}'", mend)
