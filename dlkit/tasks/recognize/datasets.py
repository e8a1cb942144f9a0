"""Labelled images in memory: MNIST and its like, class folders, IDX files, arrays.

What ``load_labelled`` takes:

    mnist-mini              bundled: 6,000 + 1,000 digits of MNIST
    mnist, fashion-mnist    downloaded once through torchvision
    FOLDER of IDX files     MNIST's four names, gzipped or not, there or in MNIST/raw below it; any
                            number of classes; ``*mapping*.txt`` (EMNIST's form) names them
    FOLDER of class folders train/ and test/ (or validation/), each with a folder a class; or the
                            class folders at once
    FILE.npz                ``images`` and ``labels``; or ``x_train``, ``y_train``, ``x_test``,
                            ``y_test``; ``classes`` may name the classes

What was not split is split by class, a sixth for testing, the same way each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit import images, npy
from dlkit.errors import InputError
from dlkit.idx import read_idx
from dlkit.tasks.recognize.class_folders import read_class_folders

MINI = Path(__file__).parent / "mnist_mini"
NAMES = ("mnist-mini", "mnist", "fashion-mnist")

_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # torchvision's names
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
            "Bag", "Ankle boot")  # fmt: skip
_DIGITS = tuple(map(str, range(10)))
_DIGIT_SHAPE = (28, 28)
_TEST_SHARE = 1 / 6  # of images that nobody split
_EMPTY = 0.5  # so many images without any ink are no accident


@dataclass(frozen=True)
class Labelled:
    """A dataset, whole in memory.

    Attributes:
        train_images, test_images: uint8 (N, H, W) grey or (N, H, W, 3) RGB, 0 to 255.
        train_labels, test_labels: int64 (N,), an index into ``classes``.
        classes: what each label stands for.
        notes: what is odd about it, for people.
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.train_images.shape[1], self.train_images.shape[2]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return 1 if self.train_images.ndim == 3 else 3

    @property
    def digits(self) -> bool:
        """Whether these are handwritten digits in MNIST's form."""
        return (self.classes, self.size, self.channels) == (_DIGITS, _DIGIT_SHAPE, 1)

    def fingerprint(self) -> str:
        """Hash of everything in it, hexadecimal."""
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def load_labelled(
    data: str, size: tuple[int, int] | None = None, resize: str = "stretch"
) -> Labelled:
    """Load a dataset; see the module's text for what ``data`` may be.

    Args:
        size: height and width that images of files are brought to; None takes them as they are,
            which needs them to be of one size.
        resize: how, one of ``dlkit.spec.RESIZES``.

    Raises:
        InputError: it cannot be found, downloaded or read; or it is none of these forms.
    """
    if data == "mnist-mini":
        return _with_notes(_from_idx(MINI, data))
    if data in _FOLDERS:
        return _with_notes(_from_idx(_download(data), data))
    path = Path(data)
    if path.is_file() and path.suffix.lower() == ".npz":
        return _with_notes(_from_npz(path))
    if not path.is_dir():
        raise InputError(
            f"there is no dataset, folder or .npz file '{data}'",
            f"Known by name: {', '.join(NAMES)}",
        )
    found = [name for name in _FOLDERS.values() if (path / name / "raw").is_dir()]
    if len(found) > 1:
        raise InputError(f"{path} holds {' and '.join(found)}", "Name one of its subfolders")
    place = path / found[0] if found else path.resolve()
    for raw in (place, place / "raw"):
        if any(raw.glob("*-ubyte*")):
            known = {folder: name for name, folder in _FOLDERS.items()}
            return _with_notes(_from_idx(raw, known.get(place.name, place.name)))
    folders = read_class_folders(path, size, resize)
    pictures, labels = (np.concatenate(side) for side in zip(*folders.parts, strict=True))
    cut = len(folders.parts[0][0]) if len(folders.parts) > 1 else None
    name = path.resolve().name
    return _with_notes(_split(name, pictures, labels, folders.classes, cut, folders.notes))


def _with_notes(data: Labelled) -> Labelled:
    """Note what makes a training senseless, though it would run."""
    seen = np.unique(data.train_labels)
    if len(seen) == 1:
        data.notes.append(
            f"all {len(data.train_labels)} training labels of {data.name} are "
            f"'{data.classes[seen[0]]}': nothing can be learnt from them"
        )
    flat = data.train_images.reshape(len(data.train_images), -1)
    empty = int((flat.min(axis=1) == flat.max(axis=1)).sum())
    if empty >= _EMPTY * len(flat):
        data.notes.append(
            f"{empty} of {len(flat)} training images of {data.name} are empty (all pixels the same)"
        )
    tested = np.unique(data.test_labels)
    if absent := sorted(set(range(len(data.classes))) - set(seen) - set(tested)):
        names = ", ".join(data.classes[one] for one in absent[:5])
        data.notes.append(
            f"{len(absent)} of {len(data.classes)} classes of {data.name} have no image: {names}"
        )
    if unseen := sorted(set(tested) - set(seen)):
        names = ", ".join(data.classes[one] for one in unseen[:5])
        data.notes.append(
            f"{len(unseen)} classes of {data.name} are only in the test part: {names}"
        )
    return data


def _from_idx(folder: Path, name: str) -> Labelled:
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
    names = _mapping(folder) or {}
    classes = tuple(names.get(one, str(one)) for one in range(first, int(both.max()) + 1))
    if name == "fashion-mnist" and len(classes) == len(_FASHION):
        classes = _FASHION
    notes = []
    if any(folder.glob("emnist-*")):
        notes.append(
            f"{name}: EMNIST's files hold their images transposed, and so a network learns them"
        )
    return Labelled(
        name, train, train_labels.astype(np.int64) - first,
        test, test_labels.astype(np.int64) - first, classes, notes,
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


def _from_npz(path: Path) -> Labelled:
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
    elif {"images", "labels"} <= set(parts):
        pictures, labels = parts["images"], parts["labels"]
    else:
        raise InputError(
            f"{path}: has {there}, expected images and labels, or x_train, y_train, x_test, y_test"
        )
    if pictures.ndim == 4 and pictures.shape[3] == 1:
        pictures = pictures[..., 0]
    if pictures.dtype != np.uint8 or not _are_images(pictures) or pictures.size == 0:
        raise InputError(
            f"{path}: images are {pictures.dtype} {pictures.shape}, expected uint8 "
            "(N, height, width) or (N, height, width, 3) RGB"
        )
    if labels.shape not in ((len(pictures),), (len(pictures), 1)) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{path}: labels are {labels.dtype} {labels.shape}, expected whole numbers "
            f"({len(pictures)},)"
        )
    labels = labels.reshape(-1).astype(np.int64)
    if labels.min() < 0:
        raise InputError(f"{path}: has the label {labels.min()}, expected 0 or more")
    classes = tuple(map(str, parts.get("classes", range(int(labels.max()) + 1))))
    if len(classes) <= labels.max():
        raise InputError(f"{path}: names {len(classes)} classes and has the label {labels.max()}")
    return _split(path.stem, pictures, labels, classes, cut)


def _split(
    name: str,
    pictures: NDArray[Any],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    cut: int | None,
    notes: Sequence[str] = (),
) -> Labelled:
    """Training and test part: the first ``cut``, or a share of each class."""
    order = np.arange(len(labels))
    if cut is None:
        order = np.random.default_rng(0).permutation(len(labels))  # verify splits as training did
        place = np.zeros(len(labels))
        for one in range(len(classes)):
            mine = order[labels[order] == one]
            place[mine] = (np.arange(len(mine)) + 0.5) / max(len(mine), 1)
        order = np.argsort(-place, kind="stable")  # the first of each class are tested
        cut = len(labels) - max(1, round(len(labels) * _TEST_SHARE))
        order = np.concatenate([np.sort(order[:cut]), np.sort(order[cut:])])
    if cut < 1 or cut >= len(labels):
        raise InputError(
            f"{name} has {len(labels)} images: too few to train on some and test on others"
        )
    pictures, labels = pictures[order], labels[order]
    return Labelled(
        name, pictures[:cut], labels[:cut], pictures[cut:], labels[cut:], tuple(classes),
        list(notes),
    )  # fmt: skip


def _download(name: str) -> Path:
    import platformdirs
    import torchvision

    root = Path(platformdirs.user_cache_dir("dlkit"))
    dataset = getattr(torchvision.datasets, _FOLDERS[name])
    try:
        root.mkdir(parents=True, exist_ok=True)
        dataset(str(root), download=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name} cannot be downloaded ({str(error).partition(chr(10))[0]})",
            "Use --data mnist-mini, which comes with dlkit, or --data FOLDER with the files",
        ) from error
    return root / _FOLDERS[name] / "raw"
