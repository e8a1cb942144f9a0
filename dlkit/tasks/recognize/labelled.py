"""A dataset of labelled images, whole in memory, and how it is split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError
from dlkit.spec import ModelSpec

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
        named: somebody named the classes; else they are numbers from 0 on.
        parted: somebody split it; else a share was drawn to test on.
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    notes: list[str] = field(default_factory=list)
    named: bool = True
    parted: bool = True

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
    named: bool = True,
    to_test: bool = False,
) -> Labelled:
    """Training and test part: the first ``cut``, or a share of each class.

    Args:
        to_test: all of it may be to test on: ``cut`` may be 0.
    """
    order = np.arange(len(labels))
    parted = cut is not None
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
    if cut < (0 if to_test else 1) or cut >= len(labels):
        raise InputError(
            f"{name} has {len(labels)} images: too few to train on some and test on others"
        )
    pictures, labels = pictures[order], labels[order]
    return Labelled(
        name, pictures[:cut], labels[:cut], pictures[cut:], labels[cut:], tuple(classes),
        list(notes), named, parted,
    )  # fmt: skip


def as_labels_of(spec: ModelSpec, data: Labelled) -> Labelled:
    """A dataset with the classes of a model, in its order.

    Classes are found by their names; numbers that nobody named are places among a model's names.

    Raises:
        InputError: a class is none of the model's.
    """
    labels = spec.labels
    if not labels or data.classes == labels:
        return data
    if set(data.classes) <= set(labels):
        order = np.array([labels.index(name) for name in data.classes], np.int64)
        return replace(
            data,
            train_labels=order[data.train_labels],
            test_labels=order[data.test_labels],
            classes=labels,
            named=True,
        )
    if data.named or any(name.isdecimal() for name in labels):
        others = sorted(set(data.classes) - set(labels))
        raise InputError(
            f"{data.name} has classes that the model does not know: {', '.join(others[:5])}",
            "Name data of the same classes with --data",
        )
    if len(data.classes) > len(labels):
        raise InputError(
            f"{data.name} has the label {len(data.classes) - 1}, the model has {len(labels)} "
            f"classes ({', '.join(labels[:5])}{', ...' if len(labels) > 5 else ''})",
            f"Number them 0 to {len(labels) - 1} in that order, or put an array 'classes' with the "
            "name of each number into the file",
        )
    return replace(data, classes=labels, named=True)
