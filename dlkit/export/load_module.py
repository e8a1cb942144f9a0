"""A module in torch by the name of what makes it, with weights from a file."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlkit.errors import ExportError, UsageError
from dlkit.plugins import load_attribute, of_others


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
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]  # as Lightning and many trainings save it
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = str(error).splitlines()
        raise ExportError(
            f"{path} does not fit {type(module).__name__}: {' '.join(lines[1:2] or lines).strip()}",
            "Give the weights of this very network",
        ) from error


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
    return ExportError(
        f"{path} holds no weights that can be read: {str(error).partition(chr(10))[0]}",
        "Save them with safetensors, or with torch.save(module.state_dict(), FILE)",
    )
