"""A dataset of labelled images, whole in memory, and how it is split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError

_DIGITS = tuple(map(str, range(10)))
_DIGIT_SHAPE = (28, 28)
_TEST_SHARE = 1 / 6  # of images that nobody split


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


def split(
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
        shuffled, counts = labels[order], np.bincount(labels)
        by_class = np.argsort(shuffled, kind="stable")
        count = counts[shuffled[by_class]]
        rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[shuffled[by_class]]
        place = np.zeros(len(labels))
        place[order[by_class]] = (rank + 0.5) / count
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
