"""Many files in one: tar files and Parquet files as folders of inputs."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from dlkit import images
from dlkit.errors import InputError
from dlkit.runtime.folders import parquet_files, tar_files
from dlkit.runtime.folders.member import Member
from dlkit.storage import ObjectFile, Stored

_SUFFIXES = (*tar_files.SUFFIXES, *parquet_files.SUFFIXES)


def is_archive(name: str) -> bool:
    """Whether a file's name ends as those of tar and Parquet files do."""
    return name.lower().endswith(_SUFFIXES)


def members(
    path: str,
    stored: Stored | None,
    wanted: Callable[[str], bool],
    unread: Callable[[str], bool],
    left_out: Callable[[str, str], None],
) -> Iterator[tuple[str, Member]]:
    """The inputs in an archive, with their names in it, as they are read.

    What is wrong with a member is said when that is read; what is wrong with the archive, by a
    last one without a name.

    Args:
        path: of the archive.
        stored: the object that it is; None for a file.
        wanted: which names of a tar file are taken.
        unread: of its others, which are said to be left out.
        left_out: takes the reason and the name of each file that is passed over.
    """
    state = ""
    try:
        with _opened(path, stored) as (file, state):
            if path.lower().endswith(parquet_files.SUFFIXES):
                found = parquet_files.parquet_members(file)
            else:
                found = tar_files.tar_members(file, wanted, unread, left_out)
            for name, content in found:
                yield name, Member(path, state, content)
    except InputError as error:  # it cannot be opened
        yield "", Member(path, state, error)


@contextmanager
def _opened(path: str, stored: Stored | None) -> Iterator[tuple[IO[bytes], str]]:
    if stored is not None:
        with io.BufferedReader(
            ObjectFile(stored.store, stored.key, stored.size, stored.etag), 1 << 18
        ) as file:
            yield cast(IO[bytes], file), stored.etag
        return
    with images.open_file(path) as file:
        now = os.fstat(file.fileno())
        yield file, f"{now.st_size}-{now.st_mtime_ns}-{now.st_ctime_ns}-{now.st_ino}"
