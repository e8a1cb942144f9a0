"""A folder of pictures without answers, as a graph takes them: to verify, and to calibrate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dlkit import images
from dlkit.errors import InputError
from dlkit.spec import ModelSpec, TensorSpec
from dlkit.tasks._data import Feeds


def takes_pictures(spec: ModelSpec) -> TensorSpec | None:
    """The only input, where it takes uint8 pixels, (N, H, W) or (N, H, W, 3)."""
    if len(spec.inputs) != 1:
        return None
    one = spec.inputs[0]
    grey, coloured = len(one.shape) == 3, len(one.shape) == 4 and one.shape[3] == 3
    return one if one.dtype == "uint8" and (grey or coloured) else None


def is_pictures(data: str | None) -> bool:
    """Whether a name is that of a picture, or of a folder with pictures and no subfolders."""
    if data is None or not (path := Path(data)).exists():
        return False
    return bool(_files(path)) and not any(one.is_dir() for one in path.glob("*"))


def picture_batches(data: str, spec: ModelSpec, count: int | None = None) -> list[Feeds]:
    """Each picture as a call of its own, in the size, the colours and the form of a spec.

    Raises:
        InputError: the graph takes no pixels, or a picture cannot be read.
    """
    wanted = takes_pictures(spec)
    if wanted is None:
        raise InputError(
            f"{data} has pictures, {spec.name} takes {', '.join(map(str, spec.inputs))}",
            "Export it with --colour, --mean, --std or --scale, so that it takes pixels; or give "
            "arrays as .npy or .npz",
        )
    order = "grey" if len(wanted.shape) == 3 else spec.colour
    batches: list[Feeds] = []
    for path in _files(Path(data))[:count]:
        pixels = images.colour(images.read(path), order)
        height, width = (
            side if isinstance(side, int) else -(-size // spec.multiple_of) * spec.multiple_of
            for side, size in zip(wanted.shape[1:3], pixels.shape[:2], strict=True)
        )
        pixels = images.resize(pixels, height, width, spec.resize)
        batches.append({wanted.name: np.ascontiguousarray(pixels[None])})
    return batches


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.glob("*"))
    return [one for one in found if one.suffix.lower() in images.SUFFIXES]
