"""A module in torch by the name of what makes it, with weights from a file."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dlkit.errors import ExportError, UsageError
from dlkit.plugins import load_attribute, of_others

_SAVE = "Save them with safetensors, or with torch.save(module.state_dict(), FILE)"
_WRAPPERS = ("module.", "_orig_mod.")
_NAMED = 8  # keys of a file that are said


def names_module(source: str) -> bool:
    """Whether it has the form ``package.module:factory`` or ``path/to/file.py:factory``."""
    place, colon, name = source.rpartition(":")
    return bool(colon) and bool(place) and name.isidentifier()


def load_module(source: str, weights: Path | str | None = None) -> nn.Module:
    """A module by the name of it, or of what makes it, in eval mode.

    Args:
        source: ``package.module:NAME`` or ``path/to/file.py:NAME`` of an ``nn.Module``, or of
            something that gives one when it is called without arguments.
        weights: a .safetensors file, or a file of torch with a state dict.

    Raises:
        UsageError: nothing of that name, it fails, or it gives no module.
        ExportError: the weights cannot be read, or do not fit.
    """
    found = load_attribute(source)
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise UsageError(f"{source} is {type(found).__name__}, expected a module or its maker")
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise UsageError(
                f"{source} cannot be called without arguments: {error}",
                "Name a function that takes none and gives the module",
            ) from error
        with of_others(source, "it is called"):
            made = found()
        if not isinstance(made, nn.Module):
            raise UsageError(f"{source} gives {type(made).__name__}, expected a torch.nn.Module")
        found = made
    if weights is not None:
        put_weights(found, Path(weights))
    return found.eval()


def put_weights(module: nn.Module, path: Path) -> None:
    """Load weights into a module; code in the file is never run.

    Raises:
        ExportError: they cannot be read, or do not fit.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    state = _safetensors(path) if path.suffix == ".safetensors" else _state_dict(path)
    held = _held(state, path)
    try:
        held = _unwrapped(held, module)
        _check_types(held, module, path)
        module.load_state_dict(held)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = str(error).splitlines()
        raise ExportError(
            f"{path} does not fit {type(module).__name__}: {' '.join(lines[1:2] or lines).strip()}",
            "Give the weights of this very network",
        ) from error
    loaded = module.state_dict()
    for name, given in held.items():
        if not isinstance(given, Tensor) or not given.is_floating_point():
            continue
        if given.isnan().any():
            raise ExportError(
                f"{path}: {name} holds NaN: all that is computed with it is NaN",
                "Its training failed, or the file is damaged: give weights from before that",
            )
        if (loaded[name].isinf() & given.to(loaded[name].device).isfinite()).any():
            raise ExportError(
                f"{path}: {name} holds values beyond {loaded[name].dtype}, which is what "
                f"{type(module).__name__} computes in",
                "Was its training stable? Give weights that fit",
            )


def _held(state: Any, path: Path) -> Mapping[str, Any]:
    """The state dict in a file: itself, or the only one by a name in it, as trainings save it.

    Raises:
        ExportError: there is none, or several.
    """
    if not isinstance(state, Mapping):
        raise ExportError(f"{path} holds {type(state).__name__}, expected a state dict", _SAVE)
    if not state or any(isinstance(one, Tensor) for one in state.values()):
        return state
    inside = [name for name, one in state.items() if _is_state(one)]
    if len(inside) != 1:
        keys = ", ".join(map(str, list(state)[:_NAMED]))
        there = f"{len(inside)} state dicts ({', '.join(map(str, inside))})" if inside else "none"
        raise ExportError(f"{path} holds {keys}: {there} of them, expected one", _SAVE)
    found: Mapping[str, Any] = state[inside[0]]
    return found


def _is_state(value: Any) -> bool:
    """An optimizer's has no tensor at its top."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(name, str) for name in value)
        and any(isinstance(one, Tensor) for one in value.values())
    )


def _unwrapped(state: Mapping[str, Any], module: nn.Module) -> Mapping[str, Any]:
    """Without what DistributedDataParallel and torch.compile put before all names."""
    wanted, names = module.state_dict(), list(state)
    for prefix in _WRAPPERS * 2:
        wrapped = names and all(one.startswith(prefix) for one in names)
        if wrapped and not any(one.startswith(prefix) for one in wanted):
            names = [one.removeprefix(prefix) for one in names]
    return dict(zip(names, state.values(), strict=True))


def _check_types(state: Mapping[str, Any], module: nn.Module, path: Path) -> None:
    """Refuse what torch turns into floating-point numbers in silence: quantised weights, without
    their scales, and the real parts of complex ones."""
    for name, wanted in module.state_dict().items():
        given = state.get(name)
        if not isinstance(given, Tensor) or given.is_floating_point():
            continue
        if isinstance(wanted, Tensor) and wanted.is_floating_point():
            raise ExportError(
                f"{path}: {name} holds {given.dtype}, expected {wanted.dtype} or another type of "
                "floating-point numbers",
                "If they are quantised, give the weights from before that",
            )


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _state_dict(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, KeyError, OSError, pickle.PickleError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ExportError:
    said = f": {str(error).partition(chr(10))[0]}"
    if isinstance(error, pickle.PickleError):  # torch advises to switch its protection off
        said = ": it is no file of torch, or holds more than tensors and plain values"
    return ExportError(f"{path} holds no weights that can be read{said}", _SAVE)
