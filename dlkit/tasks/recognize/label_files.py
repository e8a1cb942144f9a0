"""Labelled images in IDX files and .npz files: MNIST's forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images, npy
from dlkit.errors import InputError
from dlkit.idx import read_idx
from dlkit.tasks.recognize.labelled import Labelled, split

_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
            "Bag", "Ankle boot")  # fmt: skip
_FEW = 256  # labels up to here, a byte's, may be more than there are images


def read_idx_folder(folder: Path, name: str) -> Labelled:
    train, train_labels = _find(folder, "train-images"), _find(folder, "train-labels")
    test, test_labels = _find(folder, "t10k-images"), _find(folder, "t10k-labels")
    for pictures, labels in ((train, train_labels), (test, test_labels)):
        if not _are_images(pictures) or labels.shape != pictures.shape[:1]:
            raise InputError(
                f"{folder}: images are {pictures.shape} and labels {labels.shape}, expected "
                "(N, height, width) or (N, height, width, 3), and (N,)"
            )
        if labels.size == 0:
            raise InputError(f"{folder}: expected at least one image")
    if train.shape[1:] != test.shape[1:]:
        raise InputError(f"{folder}: training images are {train.shape[1:]}, test {test.shape[1:]}")
    both = np.concatenate([train_labels, test_labels]).astype(np.int64)
    first = 1 if both.min() == 1 else 0  # EMNIST's letters count from 1
    _check_most(both, folder)
    names = _mapping(folder) or {}
    classes = tuple(names.get(one, str(one)) for one in range(first, int(both.max()) + 1))
    if name == "fashion-mnist" and len(classes) == len(_FASHION):
        classes = _FASHION
    named = first == 1 or bool(names) or classes is _FASHION
    notes = []
    if any(folder.glob("emnist-*")):
        notes.append(
            f"{name}: EMNIST's files hold their images transposed, and so a network learns them"
        )
    return Labelled(
        name, train, train_labels.astype(np.int64) - first,
        test, test_labels.astype(np.int64) - first, classes, notes, named,
    )  # fmt: skip


def _are_images(pictures: NDArray[Any]) -> bool:
    """(N, H, W), or (N, H, W, 3)."""
    return pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[3] == 3)


def _find(folder: Path, part: str) -> NDArray[np.uint8]:
    # EMNIST has test-images where MNIST has t10k-images, and its own name before it
    other = part.replace("t10k", "test")
    found = sorted({*folder.glob(f"*{part}*ubyte*"), *folder.glob(f"*{other}*ubyte*")})
    if not found:
        raise InputError(
            f"{folder} has no {part}-*-ubyte file",
            "Put the four IDX files of MNIST there, or below it in MNIST/raw",
        )
    if len(found) > 1:
        named = ", ".join(path.name for path in found)
        raise InputError(f"{folder} has several {part} files: {named}", "Keep one set in a folder")
    return read_idx(found[0])


def _mapping(folder: Path) -> dict[int, str] | None:
    """EMNIST's names of classes: a line each, the label and the codes of its characters."""
    for path in sorted(folder.glob("*mapping*.txt")):
        try:
            rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
            return {int(row[0]): chr(int(row[1])) for row in rows}
        except (ValueError, IndexError, OSError) as error:
            raise InputError(
                f"{path}: expected lines of a label and a character's code, e.g. '1 65 97'"
            ) from error
    return None


def read_npz(path: Path, to_test: bool = False) -> Labelled:
    """``images`` and ``labels``, or both parts by Keras's names.

    Args:
        to_test: the test part may stand alone.
    """
    with images.open_file(path) as file:
        parts = npy.load_named(file, path)
    there = ", ".join(f"{name} {part.dtype} {part.shape}" for name, part in parts.items())
    cut: int | None = None
    if {"x_train", "y_train", "x_test", "y_test"} <= set(parts):
        cut = len(parts["x_train"])
        try:
            pictures = np.concatenate([parts["x_train"], parts["x_test"]])
            labels = np.concatenate([parts["y_train"], parts["y_test"]])
        except ValueError as error:
            raise InputError(
                f"{path}: training and test part differ in shape: has {there}"
            ) from error
    elif to_test and {"x_test", "y_test"} <= set(parts):
        cut, pictures, labels = 0, parts["x_test"], parts["y_test"]
    elif {"images", "labels"} <= set(parts):
        pictures, labels = parts["images"], parts["labels"]
    else:
        raise InputError(
            f"{path}: has {there}, expected images and labels, or x_train, y_train, x_test, y_test",
            "Save them by these names: np.savez(FILE, images=..., labels=...)",
        )
    if pictures.ndim == 4 and pictures.shape[3] == 1:
        pictures = pictures[..., 0]
    if pictures.dtype != np.uint8 or not _are_images(pictures) or pictures.size == 0:
        raise InputError(
            f"{path}: images are {pictures.dtype} {pictures.shape}, expected uint8 "
            "(N, height, width) or (N, height, width, 3) RGB",
            _as_bytes(pictures),
        )
    if labels.shape not in ((len(pictures),), (len(pictures), 1)) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{path}: labels are {labels.dtype} {labels.shape}, expected whole numbers "
            f"({len(pictures)},)",
            _as_numbers(labels, len(pictures)),
        )
    if labels.min() < 0:
        raise InputError(f"{path}: has the label {labels.min()}, expected 0 or more")
    if "classes" not in parts:
        _check_most(labels, path)
    labels = labels.reshape(-1).astype(np.int64)
    named = parts.get("classes", np.arange(labels.max() + 1))
    if named.ndim != 1:
        raise InputError(f"{path}: classes are {named.dtype} {named.shape}, expected a list")
    classes = tuple(map(str, named.tolist()))
    if len(classes) <= labels.max():
        raise InputError(f"{path}: names {len(classes)} classes and has the label {labels.max()}")
    return split(path.stem, pictures, labels, classes, cut, (), "classes" in parts, to_test)


def _as_bytes(pictures: NDArray[Any]) -> str:
    """How other pixels become bytes; empty where it is the shape that is wrong."""
    kind = pictures.dtype
    if kind == np.uint8:
        return ""
    if kind == np.bool_:
        return "Convert them: images.astype(np.uint8) * 255"
    most = float(pictures.max()) if pictures.size and kind.kind in "iuf" else 0.0
    if kind.kind == "f" and most <= 1:
        return "Convert them, where 1 is white: (images * 255).round().astype(np.uint8)"
    if most <= 255:
        return "Convert them, where 255 is white: images.round().astype(np.uint8)"
    return f"Convert them, where {most:g} is white: (images * (255 / {most:g})).astype(np.uint8)"


def _as_numbers(labels: NDArray[Any], count: int) -> str:
    """How other labels become whole numbers."""
    if labels.ndim == 2 and len(labels) == count and labels.shape[1] > 1:
        return "Of one column a class: labels.argmax(axis=1)"
    if labels.shape != (count,):
        return ""
    if labels.dtype.kind == "f":
        return "Convert them: labels.astype(np.int64)"
    return "Number them: classes, labels = np.unique(labels, return_inverse=True), and save both"


def _check_most(labels: NDArray[Any], place: Path) -> None:
    """Refuse labels that count something else than classes: a network has an output for each.

    Raises:
        InputError: there are.
    """
    if (most := int(labels.max())) >= max(len(labels), _FEW):
        raise InputError(
            f"{place}: has the label {most} and {len(labels)} images, expected labels that count "
            "classes from 0, with an image of most",
            "Number the classes anew: np.unique(labels, return_inverse=True)[1]",
        )
