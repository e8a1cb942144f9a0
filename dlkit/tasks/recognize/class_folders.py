"""A folder a class, with images in it: as torchvision's ImageFolder reads them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlkit import images
from dlkit.errors import InputError
from dlkit.reading.colour import on_paper

_TRAIN, _TEST = ("train", "training"), ("test", "validation", "val", "valid")


@dataclass(frozen=True)
class ClassFolders:
    """The images of class folders.

    Attributes:
        parts: to train and to test on, or all in one where nobody split them: uint8 (N, H, W) grey
            or (N, H, W, 3) RGB, and int64 (N,), an index into ``classes``.
        classes: the folders' names; those that are numbers first, in their order.
        notes: what was left out, for people.
    """

    parts: list[tuple[images.UInt8, NDArray[np.int64]]]
    classes: tuple[str, ...]
    notes: list[str]


def read_class_folders(
    folder: Path, size: tuple[int, int] | None, resize: str, to_test: bool = False
) -> ClassFolders:
    """Read ``folder/CLASS/...``, or ``folder/train/CLASS/...`` and ``folder/test/CLASS/...``.

    Args:
        to_test: a test part may stand alone: then the training part is empty.
        size: height and width that images are brought to; None needs them to be of one size.
        resize: how, one of ``dlkit.spec.RESIZES``.

    Raises:
        InputError: there are no class folders, an image cannot be read, or sizes differ.
    """
    notes: list[str] = []
    # a class may be called `train`, too: a part holds folders
    below = {path.name.lower(): path for path in _folders(folder) if _folders(path)}
    train = [below[name] for name in _TRAIN if name in below][:1]
    test = [below[name] for name in _TEST if name in below][:1]
    alone = bool(test) and not train and len(_folders(folder)) == 1
    if alone and not to_test:
        raise InputError(
            f"{folder} has {test[0].name}/ alone, and nothing to train on",
            f"Put a folder train/ beside it, with a folder a class, or name {test[0]}",
        )
    used = [*train, *test] if train or alone else []
    if left := [path.name for path in _folders(folder) if used and path not in used]:
        named = " and ".join(path.name for path in used)
        notes.append(f"{', '.join(left)} of {folder} are left out: {named} are taken")
    files = [_files(place, notes) for place in used or [folder]]
    classes = tuple(sorted({name for part in files for name, _ in part}, key=_by_number))
    if len(classes) == 1:
        raise InputError(
            f"{folder} has images of one class alone, {classes[0]}",
            "Add a folder with images of another class",
        )
    if not all(files):
        raise InputError(
            f"{folder} has no data that dlkit knows: expected a folder a class with images in it "
            "(or train/ and test/ with those), MNIST's four IDX files, or a .npz file"
        )
    read = [[on_paper(images.read(path)) for _, path in part] for part in files]
    coloured = any(not images.is_grey(image) for part in read for image in part)
    height, width = size or _one_size([one.shape[:2] for part in read for one in part], folder)
    where = {name: index for index, name in enumerate(classes)}
    parts = []
    for part, named_files in zip(read, files, strict=True):
        right = [images.colour(one, "rgb" if coloured else "grey") for one in part]
        stack = np.stack([images.resize(one, height, width, resize) for one in right])
        parts.append((stack, np.array([where[name] for name, _ in named_files], np.int64)))
    if alone:
        stack, marks = parts[0]
        parts.insert(0, (stack[:0], marks[:0]))
    return ClassFolders(parts, classes, notes)


def _one_size(sizes: list[tuple[int, ...]], folder: Path) -> tuple[int, int]:
    counted = Counter(sizes)
    if len(counted) > 1:
        (most, _), (other, _) = counted.most_common(2)
        raise InputError(
            f"{folder} has images of {len(counted)} sizes, e.g. {most[0]}x{most[1]} and "
            f"{other[0]}x{other[1]}",
            "Say to which size they are brought, e.g. --set image_size=64",
        )
    height, width = sizes[0]
    return height, width


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(folder: Path, notes: list[str]) -> list[tuple[str, Path]]:
    """Class and file of every image in the class folders below a folder; others are noted."""
    found: list[tuple[str, Path]] = []
    others: list[Path] = []
    for place in _folders(folder):
        before = len(found)
        for path in sorted(place.rglob("*")):
            if path.name.startswith(".") or path.is_dir():
                continue
            if path.suffix.lower() in images.SUFFIXES:
                found.append((place.name, path))
            else:
                others.append(path)
        if len(found) == before:
            notes.append(f"{place} has no images, and is no class")
    others += [p for p in sorted(folder.iterdir()) if p.suffix.lower() in images.SUFFIXES]
    if others:
        notes.append(
            f"{len(others)} files of {folder} are left out, as no images or in no class folder, "
            f"e.g. {others[0].relative_to(folder)}"
        )
    return found


def _by_number(name: str) -> tuple[int, str]:
    """Classes that are numbers in their order, then the others by name."""
    return (int(name), "") if name.isdecimal() else (1 << 62, name)
