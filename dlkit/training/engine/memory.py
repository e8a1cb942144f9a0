"""What a machine has too little memory for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import cv2
import torch

from dlkit.errors import MachineError
from dlkit.training.recipe import Recipe

# of torch on the CPU and CUDA; of OpenCV
_REFUSED = ("can't allocate memory", "not enough memory", "out of memory", "Insufficient memory")


@contextmanager
def memory_for(recipe: Recipe) -> Iterator[None]:
    """Where torch or OpenCV cannot allocate, say which sizes were asked for.

    Raises:
        MachineError: there is too little memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError, cv2.error) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(words in str(error) for words in _REFUSED):
            raise
        sizes = asdict(recipe.network.config) | {"batch_size": getattr(recipe, "batch_size", 0)}
        asked = [f"{name}={value}" for name, value in sizes.items() if value and type(value) is int]
        raise MachineError(
            f"there is too little memory to train {recipe.network.architecture.name} with "
            f"{', '.join(asked)}",
            "Choose smaller ones with --set, or split each batch: --accumulate 4",
        ) from error
