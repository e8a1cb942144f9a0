"""How good classifiers are on test images: accuracy, classes, calibration.

All of it goes through the runtime: the bundle as it is deployed answers, not the network in torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import BundleError, InputError
from dlkit.images import UInt8
from dlkit.tasks.recognize import Recognizer
from dlkit.tasks.recognize.labelled import Labelled
from dlkit.training.classify import scores

# uint8 (N, H, W) grey or (N, H, W, 3) RGB to float (N, classes)
Method: TypeAlias = Callable[[UInt8], NDArray[Any]]

_BATCH = 256

SETTINGS = {
    "accuracy": "share of right answers; low and high: Wilson's interval, 95 %",
    "ece": "expected calibration error: 15 equal bins of the answer's probability (Guo et al., "
    "arXiv 1706.04599)",
    "nll": "mean negative log-likelihood of the truth, nats",
    "brier": "mean squared distance of the probabilities to the truth, summed over classes, 0 to 2",
}


def method(model: Recognizer, classes: Sequence[str]) -> Method:
    """All probabilities of a loaded classifier, in the order of ``classes``.

    Raises:
        BundleError: it has other classes.
    """
    labels = list(model.labels)
    if sorted(labels) != sorted(classes):
        raise BundleError(
            f"{model.bundle.path} recognizes {_few(labels)}, expected {_few(classes)}",
            "Compare bundles of the same classes",
        )
    order = [labels.index(name) for name in classes]

    def probabilities(images: UInt8) -> NDArray[Any]:
        outputs = []
        # a model is given images as OpenCV has them: BGR
        turned = images[..., ::-1] if images.ndim == 4 else images
        for at in range(0, len(images), _BATCH):
            batch = np.stack([model.prepare(image)[0] for image in turned[at : at + _BATCH]])
            outputs.append(model.opened.session(batch)[:, order])
        return np.concatenate(outputs)

    return probabilities


def ask(name: str, how: Method, images: UInt8, classes: int) -> NDArray[Any]:
    """Probabilities (N, classes) of a method.

    Raises:
        InputError: it gives something else, or NaN.
    """
    probabilities = how(images)
    if probabilities.shape != (len(images), classes):
        raise InputError(f"{name} gave {probabilities.shape}, expected {(len(images), classes)}")
    if not np.isfinite(probabilities).all():
        raise InputError(f"{name} gave NaN", "Check it: dlkit verify")
    return probabilities


def truth(data: Labelled, classes: Sequence[str]) -> NDArray[np.int64]:
    """The labels of the test images, as an index into ``classes``.

    Raises:
        InputError: a class is not among them.
    """
    if others := sorted(set(data.classes) - set(classes)):
        raise InputError(f"{data.name} has classes that the model does not know: {_few(others)}")
    place = np.array([list(classes).index(name) for name in data.classes], np.int64)
    return place[data.test_labels]


def mistakes(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Wrong answers, the surest first; truth and answer are indices of classes."""
    answers = probabilities.argmax(axis=1)
    (wrong,) = np.nonzero(answers != labels)
    found = [
        {
            "image": int(index),
            "truth": int(labels[index]),
            "answer": int(answers[index]),
            "probability": float(probabilities[index].max()),
            "probability_of_truth": float(probabilities[index, labels[index]]),
        }
        for index in wrong
    ]
    return sorted(found, key=lambda one: -float(one["probability"]))


def details(probabilities: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Figures a class, the confusion matrix, and bins of reliability."""
    answers, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    return {
        "classes": scores.per_class(labels, answers, classes),
        "confusion": scores.confusion(labels, answers, classes).tolist(),
        "reliability": scores.reliability(probabilities.max(axis=1), answers == labels),
    }


def means(
    probabilities: NDArray[Any], labels: NDArray[np.int64], found: Mapping[str, Any]
) -> dict[str, Any]:
    """A method's row; ``found`` is what ``details`` gave."""
    right = int((probabilities.argmax(axis=1) == labels).sum())
    low, high = scores.wilson(right, len(labels))
    return {
        "images": len(labels),
        "right": right,
        "accuracy": right / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "ece": scores.expected_calibration_error(found["reliability"]),
        "mean_probability": float(probabilities.max(axis=1).mean(dtype=np.float64)),
        "nll": scores.negative_log_likelihood(probabilities, labels),
        "brier": scores.brier(probabilities, labels),
    }


def fingerprint(images: UInt8, labels: NDArray[np.int64]) -> str:
    """SHA-256 of what was asked: pixels, then labels, a byte each (below 256 classes), else
    eight."""
    narrow = labels.astype(np.uint8) if labels.max(initial=0) < 256 else labels
    return hashlib.sha256(images.tobytes() + narrow.tobytes()).hexdigest()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
