"""Which image files are meant by folders and files on a command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dlkit.errors import UsageError
from dlkit.images import SUFFIXES


class Source(NamedTuple):
    """One input file.

    Attributes:
        path: where it is.
        name: its path below the output folder, subfolders mirrored, with forward slashes.
    """

    path: str
    name: str


def is_image(name: str) -> bool:
    """Whether a file's name ends as images do."""
    return name[name.rfind(".") :].lower() in SUFFIXES


def check(inputs: Sequence[Path]) -> None:
    """Refuse inputs that are missing or that would be written to one place.

    Raises:
        UsageError: nothing given, one is missing, or two have the same name.
    """
    if not inputs:
        raise UsageError("no input: give a folder or image files")
    for path in inputs:
        if not path.exists():
            raise UsageError(f"there is no {path}: give a folder or image files that exist")
    names = [path.resolve().name for path in inputs]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(
            f"two inputs are named {double[0]}, so one result would replace the other: "
            "run them one after the other with different --out"
        )


def sources(
    inputs: Sequence[Path],
    ignore: Path | None = None,
    wanted: Callable[[str], bool] = is_image,
) -> Iterator[Source]:
    """Files of the inputs, in the order in which the folders list them, one at a time.

    A single folder's content keeps its path below the folder; with several inputs each folder's
    name comes first. Hidden files, names that are not ``wanted`` inside folders, and the folder
    ``ignore`` are left out; a file that was named itself is always tried.

    Raises:
        UsageError: a folder that was named cannot be listed.
    """
    for path in inputs:
        if path.is_dir():
            prefix = f"{path.resolve().name}/" if len(inputs) > 1 else ""
            yield from _walk(str(path), prefix, str(ignore.resolve()) if ignore else None, wanted)
        else:
            yield Source(str(path), path.name)


def _walk(
    folder: str, below: str, ignore: str | None, wanted: Callable[[str], bool]
) -> Iterator[Source]:
    try:
        # Streamed, not sorted: a folder may hold a million names.
        with os.scandir(folder) as listing:
            for entry in listing:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if ignore is None or os.path.realpath(entry.path) != ignore:
                        yield from _walk(entry.path, f"{below}{name}/", ignore, wanted)
                elif wanted(name):
                    yield Source(entry.path, below + name)
    except OSError as error:
        if not below:
            raise UsageError(f"{folder} cannot be listed ({error.strerror})") from error
        yield Source(folder, below)  # reading it fails, so the run lists it and goes on
