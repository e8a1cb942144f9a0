"""Images in array files, read a part at a time: .npy, .npz and IDX.

Nothing is mapped: a file that is cut while it is read is an error of that file and no crash; and an
archive that unpacks to gigabytes needs no more memory than one part.
"""

from __future__ import annotations

import gzip
import math
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dlkit import images
from dlkit.array_errors import DAMAGED, unreadable
from dlkit.errors import InputError
from dlkit.idx import idx_shape

_SUFFIXES = (".npy", ".npz", "-ubyte", "-ubyte.gz")
_SQUARE = (28, 28)
_FLAT = 28 * 28
_COLOURS = 4  # of a last axis: so many channels, at most
_WHOLE = 1 << 30  # bytes of an array that cannot be read a part at a time
_PART = 1 << 25  # bytes of a part, where that is more than one image


def is_array(name: str) -> bool:
    """Whether a file's name ends as arrays do, and MNIST's image files (not its labels)."""
    return name.lower().endswith(_SUFFIXES) and "idx1" not in name


@dataclass(frozen=True)
class _Stream:
    """An array whose values come in order.

    Attributes:
        shape: (N, H, W), or (N, H, W, 3).
        along_last: the images are along the file's last axis.
    """

    path: Path
    file: IO[bytes]
    shape: tuple[int, ...]
    along_last: bool = False

    def parts(self, count: int) -> Iterator[NDArray[np.uint8]]:
        """At most ``count`` images at a time, fewer of large ones."""
        size = math.prod(self.shape[1:])
        count = max(1, min(count, _PART // size))
        if self.along_last:  # no image is whole before the file's end
            data = self._read(self.shape[0] * size, 0)
            self._check_end()
            whole = np.frombuffer(data, np.uint8).reshape(*self.shape[1:], -1)
            for first in range(0, self.shape[0], count):
                yield np.ascontiguousarray(np.moveaxis(whole[..., first : first + count], -1, 0))
            return
        for first in range(0, self.shape[0], count):
            some = min(count, self.shape[0] - first)
            data = self._read(some * size, first)
            yield np.frombuffer(data, np.uint8).reshape(some, *self.shape[1:])
        self._check_end()

    def _check_end(self) -> None:
        if self._bytes(1):
            raise InputError(
                f"{self.path}: goes on behind its {self.shape[0]} images",
                "Save all in one array: np.concatenate",
            )

    def _bytes(self, size: int) -> bytes:
        try:
            return self.file.read(size)
        except DAMAGED as error:
            raise unreadable(self.path, error) from error

    def _read(self, size: int, first: int) -> bytes:
        data = self._bytes(size)
        if len(data) != size:
            raise InputError(f"{self.path}: is truncated after {first} images")
        return data


@contextmanager
def open_array(
    path: Path | str, colour: str = "grey", content: IO[bytes] | None = None
) -> Iterator[_Stream]:
    """Images of an array file, to be read part by part.

    Args:
        colour: channels that are wanted; arrays of colours are RGB, and not taken for ``grey``.
        content: of what is no file here; ``path`` is then for messages.

    Raises:
        InputError: it cannot be read, or holds no images of bytes, or it is not certain along which
            axis they are.
    """
    path = Path(path)
    with ExitStack() as stack:
        try:
            # refuses what is no file, before anything waits for it
            file = stack.enter_context(images.open_file(path) if content is None else content)
            if path.suffix.lower() == ".npz":
                file, dtype, shape = _member(path, file, colour, stack)
            elif path.suffix.lower() == ".npy":
                dtype, shape = _header(file)
            else:
                if file.read(2) == b"\x1f\x8b":
                    file.seek(0)
                    unpacked = stack.enter_context(gzip.open(file))
                    file = cast(IO[bytes], unpacked)
                else:
                    file.seek(0)
                shape = idx_shape(file, path)
                dtype = np.dtype(np.uint8)
        except DAMAGED as error:
            raise unreadable(path, error) from error
        shape, along_last = _as_images(path, dtype, shape, colour)
        yield _Stream(path, file, shape, along_last)


def _member(
    path: Path, file: IO[bytes], colour: str, stack: ExitStack
) -> tuple[IO[bytes], np.dtype[Any], tuple[int, ...]]:
    """The one array of images in an archive, opened after its header."""
    archive = stack.enter_context(zipfile.ZipFile(file))
    found, there = [], []
    for name in archive.namelist():
        with archive.open(name) as part:
            dtype, shape = _header(part)
        there.append(f"{name.removesuffix('.npy')} {dtype} {shape}")
        if dtype in (np.uint8, np.bool_) and len(shape) >= 2:
            found.append(name)
    if len(found) != 1:
        raise InputError(
            f"{path}: expected one array of uint8 images (N, H, W), it has {', '.join(there)}"
        )
    part = stack.enter_context(archive.open(found[0]))
    return part, *_header(part)


def _header(file: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if fortran and len(shape) > 1:
        raise ValueError("its values are in Fortran's order; save np.ascontiguousarray of it")
    return dtype, tuple(map(int, shape))  # True passes for a whole number


def _as_images(
    path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], colour: str
) -> tuple[tuple[int, ...], bool]:
    """(N, H, W) or (N, H, W, 3), and whether the images are along the file's last axis.

    Raises:
        InputError: it holds none, or it is not certain what it holds.
    """
    expected = "expected uint8 images (N, height, width)"
    holds = f"{path}: holds {dtype} {shape}" if len(shape) < 9 else f"{path}: holds {dtype}"
    if dtype not in (np.uint8, np.bool_):
        raise InputError(f"{holds}, {expected}", "Save it as uint8, 0 black and 255 white")
    certain = len(shape) == 4 and shape[1] == 1
    if certain:
        shape = (shape[0], *shape[2:])
    elif len(shape) in (3, 4) and shape[-1] == 1:  # a channel
        shape = shape[:-1]
    if len(shape) == 3 and shape[1:] == (1, _FLAT):
        shape = (shape[0], _FLAT)
    along_last = not certain and len(shape) == 3 and shape[:2] == _SQUARE != shape[1:]
    along_last = along_last and shape[2] > _COLOURS and math.prod(shape) <= _WHOLE
    if along_last:  # as MATLAB's files have MNIST
        shape = (shape[2], *shape[:2])
    elif len(shape) in (2, 3) and not certain:
        why, mend = images.doubt(shape)
        if why:
            raise InputError(f"{holds}: {why}; {expected}", mend)
    if len(shape) == 2:  # rows, as scikit-learn and CSV files have MNIST; or one image
        shape = (shape[0], *_SQUARE) if shape[1] == _FLAT else (1, *shape)
    coloured = len(shape) == 4 and shape[3] == 3 and colour != "grey"
    if not (len(shape) == 3 or coloured) or min(shape) < 1:
        raise InputError(f"{holds}, {expected}")
    if shape[1] * shape[2] > images.MAX_PIXELS:
        raise InputError(f"{holds}: images of more than {images.MAX_PIXELS / 1e6:.0f} Mpixels")
    return shape, along_last
