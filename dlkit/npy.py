"""Array files (.npy, .npz), read whole: what they hold beside is never passed over."""

from __future__ import annotations

import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlkit.array_errors import DAMAGED, unreadable
from dlkit.errors import InputError


def load(
    file: IO[bytes], path: object, most: int | None = None
) -> NDArray[Any] | dict[str, NDArray[Any]]:
    """The array of an open .npy file, or those of a .npz file by their names.

    Args:
        path: for messages.
        most: bytes that packed arrays may unpack to; as many as they want by default.

    Raises:
        InputError: it cannot be read, goes on behind its array, has two of one name, or unpacks to
            too much.
    """
    try:
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            if file.read(1):
                raise InputError(
                    f"{path}: goes on behind its array {loaded.dtype} {loaded.shape}: a .npy file "
                    "has one",
                    "Save several with np.savez",
                )
            return loaded
        with loaded:
            if doubled := [name for name in loaded.files if loaded.files.count(name) > 1]:
                raise InputError(f"{path}: has two arrays '{doubled[0]}'", "Keep one of them")
            if most is not None:
                _check_unpacked(loaded.zip, path, most)
            found = {name: loaded[name] for name in loaded.files}
    except DAMAGED as error:
        raise unreadable(path, error) from error
    return {name: one for name, one in found.items() if isinstance(one, np.ndarray)}


def _check_unpacked(archive: zipfile.ZipFile | None, path: object, most: int) -> None:
    """By what the archive says of its parts, of which no more is unpacked."""
    parts = [] if archive is None else archive.infolist()
    size = sum(part.file_size for part in parts if part.compress_type != zipfile.ZIP_STORED)
    if size > most:
        raise InputError(
            f"{path}: its arrays unpack to {size / 2**30:.1f} GiB, at most {most / 2**30:.0f} are "
            "unpacked",
            "Save them as they are, with np.savez, or in several files",
        )


def load_named(file: IO[bytes], path: object) -> dict[str, NDArray[Any]]:
    """The arrays of an open .npz file by their names.

    Raises:
        InputError: as ``load`` has it; or it is a .npy file.
    """
    found = load(file, path)
    if isinstance(found, np.ndarray):
        raise InputError(f"{path}: is a .npy file, expected .npz", "Save it with np.savez")
    return found
