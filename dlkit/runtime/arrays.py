"""Many images in one file: .npy, .npz and IDX, at memory speed."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import DlkitError, InputError
from dlkit.idx import read_idx
from dlkit.runtime.folder import Source
from dlkit.runtime.folder_run import Tally
from dlkit.runtime.pipeline import Runner, run
from dlkit.runtime.table import Row

_SUFFIXES = (".npy", ".npz", "-ubyte", "-ubyte.gz")
_BATCHES = 4  # of the session that are one part: fewer hand-overs between threads


class Part(NamedTuple):
    """A run of images in an array.

    Attributes:
        first: index of its first image.
        pixels: uint8 (N, H, W).
    """

    source: Source
    first: int
    pixels: images.Pixels


class PartResult(NamedTuple):
    """Answers for a part: int64 (N,) classes and float32 (N,) probabilities; NaN where none."""

    part: Part
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def is_array(name: str) -> bool:
    """Whether a file's name ends as arrays do, and MNIST's image files (not its labels)."""
    return name.lower().endswith(_SUFFIXES) and "idx1" not in name


def read(path: Path | str) -> images.Pixels:
    """Images from an array file.

    Returns:
        uint8 (N, H, W); a single (H, W) image has N = 1. Memory is mapped where the format allows.

    Raises:
        InputError: it cannot be read, or holds no uint8 images.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".npy":
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        elif path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as parts:
                array = _images_of(path, {name: parts[name] for name in parts.files})
        else:
            array = read_idx(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as an array ({error})") from error
    if array.ndim == 2:
        array = array[None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.size == 0:
        raise InputError(
            f"{path}: holds {array.dtype} {array.shape}, expected uint8 images (N, height, width)"
        )
    return array


def _images_of(path: Path, parts: dict[str, NDArray[Any]]) -> NDArray[Any]:
    found = [name for name, part in parts.items() if part.dtype == np.uint8 and part.ndim == 3]
    if len(found) != 1:
        there = ", ".join(f"{name} {part.dtype} {part.shape}" for name, part in parts.items())
        raise InputError(f"{path}: expected one array of uint8 images (N, H, W), it has {there}")
    return parts[found[0]]


def parts(source: Source, array: images.Pixels, count: int) -> Iterator[Part]:
    """The array in parts of at most ``count`` images."""
    for first in range(0, len(array), count):
        yield Part(source, first, array[first : first + count])


class ArrayWork:
    """Recognizes a part; called in worker threads.

    Args:
        shape: height and width that the session takes; others are prepared as images are.
    """

    def __init__(self, runner: Runner, shape: tuple[int, int]) -> None:
        self.runner, self.shape = runner, shape

    def __call__(self, chunk: Sequence[Part]) -> list[PartResult]:
        """The most probable class of each image."""
        results = []
        for part in chunk:
            pixels = np.ascontiguousarray(part.pixels)
            if pixels.shape[1:] != self.shape:
                pixels = np.stack([self.runner.task.prepare(image)[0] for image in pixels])
            count = self.runner.batch
            output = np.concatenate(
                [self.runner.call(pixels[at : at + count]) for at in range(0, len(pixels), count)]
            )
            classes = output.argmax(axis=1)
            best = output[np.arange(len(output)), classes]
            results.append(PartResult(part, classes, best.astype(np.float32)))
        return results


def answers(
    work: ArrayWork, source: Source, labels: Sequence[str], workers: int, tally: Tally
) -> Iterator[list[Row]]:
    """Rows of one array, a list for each part, named ``FILE[INDEX]``; or one row with its error."""
    try:
        pixels = read(source.path)
        found = parts(source, pixels, work.runner.batch * _BATCHES)
        for (result,) in run(work, found, 1, workers):
            yield _rows(result, labels, tally)
    except DlkitError as error:
        tally.fail(source.name, str(error))
        yield [(source.name, "", "", str(error))]


def _rows(result: PartResult, labels: Sequence[str], tally: Tally) -> list[Row]:
    name, first = result.part.source.name, result.part.first
    classes = result.classes.tolist()
    probabilities = result.probabilities.astype(np.float64).round(6).tolist()
    rows: list[Row] = [
        (f"{name}[{index}]", labels[which], probability, "")
        for index, (which, probability) in enumerate(
            zip(classes, probabilities, strict=True), first
        )
    ]
    bad = np.flatnonzero(~np.isfinite(result.probabilities)).tolist()
    for index in bad:
        error = "the model gave NaN; check it: dlkit verify"
        rows[index] = (rows[index][0], "", "", error)
        tally.fail(rows[index][0], error)
    tally.done += len(rows) - len(bad)
    return rows
