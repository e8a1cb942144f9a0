"""Digits in memory: MNIST, Fashion-MNIST, the bundled small MNIST, or IDX files in a folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlkit.errors import InputError
from dlkit.idx import read_idx

MINI = Path(__file__).parent / "mnist_mini"
NAMES = ("mnist-mini", "mnist", "fashion-mnist")

_FOLDERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # torchvision's names


@dataclass(frozen=True)
class Digits:
    """A dataset, whole in memory.

    Attributes:
        train_images, test_images: uint8 (N, 28, 28), 0 to 255, bright on black.
        train_labels, test_labels: int64 (N,), 0 to 9.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def to(self, device: torch.device) -> Digits:
        """The same on a device."""
        tensors = (self.train_images, self.train_labels, self.test_images, self.test_labels)
        return Digits(self.name, *(tensor.to(device) for tensor in tensors))

    def fingerprint(self) -> str:
        """Hash of everything in it."""
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(part.numpy().tobytes())
        return digest.hexdigest()


def load_digits(data: str) -> Digits:
    """Load a dataset.

    Args:
        data: ``mnist-mini`` (bundled: 6,000 + 1,000 digits of MNIST), ``mnist`` or
            ``fashion-mnist`` (downloaded once through torchvision), or a folder that holds
            ``MNIST/raw`` or ``FashionMNIST/raw`` as torchvision lays them, or the four IDX files.

    Raises:
        InputError: it cannot be found, downloaded or read.
    """
    if data == "mnist-mini":
        return _from_folder(MINI, data)
    if data in _FOLDERS:
        return _from_folder(_download(data), data)
    folder = Path(data)
    if not folder.is_dir():
        raise InputError(f"there is no dataset or folder '{data}'. Known: {', '.join(NAMES)}")
    below = {name: folder / place / "raw" for name, place in _FOLDERS.items()}
    found = [name for name, place in below.items() if place.is_dir()]
    if len(found) > 1:
        raise InputError(f"{folder} holds {' and '.join(found)}: name one of its subfolders")
    if found:
        return _from_folder(below[found[0]], found[0])
    return _from_folder(folder / "raw" if (folder / "raw").is_dir() else folder, folder.name)


def _from_folder(folder: Path, name: str) -> Digits:
    arrays = [_find(folder, part) for part in ("train-images", "train-labels")]
    arrays += [_find(folder, part) for part in ("t10k-images", "t10k-labels")]
    for images, labels in (arrays[:2], arrays[2:]):
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
            raise InputError(
                f"{folder}: images are {images.shape} and labels {labels.shape}, "
                "expected (N, 28, 28) and (N,)"
            )
        if labels.size == 0 or labels.max() > 9:
            raise InputError(f"{folder}: expected labels 0 to 9, and at least one")
    tensors = [torch.from_numpy(np.array(array)) for array in arrays]
    return Digits(name, tensors[0], tensors[1].long(), tensors[2], tensors[3].long())


def _find(folder: Path, part: str) -> NDArray[np.uint8]:
    found = sorted(folder.glob(f"{part}*ubyte*"))
    if not found:
        raise InputError(
            f"{folder} has no {part}-*-ubyte file: expected the four IDX files of MNIST there, "
            "or below it in MNIST/raw"
        )
    return read_idx(found[0])


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
            f"{name} cannot be downloaded ({str(error).partition(chr(10))[0]}). "
            "Use --data mnist-mini, which comes with dlkit, or --data FOLDER with the files"
        ) from error
    return root / _FOLDERS[name] / "raw"
