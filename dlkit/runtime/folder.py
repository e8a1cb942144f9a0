"""Which image files are meant by folders and files on a command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlkit.errors import UsageError
from dlkit.images import SUFFIXES


@dataclass(frozen=True)
class Source:
    """One input file.

    Attributes:
        path: where it is.
        name: its path below the output folder, subfolders mirrored.
    """

    path: Path
    name: Path


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


def sources(inputs: Sequence[Path], ignore: Path | None = None) -> Iterator[Source]:
    """Image files of the inputs, folders walked in sorted order, without holding the list.

    A single folder's content keeps its path below the folder; with several inputs each folder's
    name comes first. Hidden files, other endings than ``images.SUFFIXES`` inside folders, and the
    folder ``ignore`` are left out; a file that was named itself is always tried.
    """
    for path in inputs:
        if path.is_dir():
            prefix = Path(path.resolve().name) if len(inputs) > 1 else Path()
            for name in _walk(path, Path(), ignore.resolve() if ignore else None):
                yield Source(path / name, prefix / name)
        else:
            yield Source(path, Path(path.name))


def count(found: Iterable[Source]) -> int:
    """How many there are."""
    return sum(1 for _ in found)


def _walk(root: Path, below: Path, ignore: Path | None) -> Iterator[Path]:
    try:
        with os.scandir(root / below) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{root / below} cannot be listed ({error.strerror})") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = below / entry.name
        if entry.is_dir(follow_symlinks=False):
            if ignore is None or Path(entry.path).resolve() != ignore:
                yield from _walk(root, name, ignore)
        elif name.suffix.lower() in SUFFIXES:
            yield name
