"""How good digit recognizers are: accuracy, calibration, robustness, sureness of non-digits.

All of it goes through the runtime: the bundle as it is deployed answers, not the network in torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import BundleError, InputError
from dlkit.images import Pixels
from dlkit.training import classification
from dlkit.training.data.corruptions import CORRUPTIONS, MNIST_C, corrupt, settings
from dlkit.training.data.digits import load_digits
from dlkit.training.data.non_digits import KINDS, non_digits
from dlkit.training.evaluations import Report, Request, _digit_pictures, _digit_tables

DATA = "mnist-mini"

# uint8 (N, 28, 28) to float (N, 10), column d the probability of the digit d
Method: TypeAlias = Callable[[Pixels], NDArray[Any]]

CLASSES = 10
_BATCH = 256
NON_DIGITS = 500  # pictures of each kind
_SURE = (0.5, 0.9)

SETTINGS = {
    "accuracy": "share of right answers; low and high: Wilson's interval, 95 %",
    "ece": "expected calibration error: 15 equal bins of the answer's probability (Guo et al., "
    "arXiv 1706.04599)",
    "nll": "mean negative log-likelihood of the truth, nats",
    "brier": "mean squared distance of the probabilities to the truth, summed over classes, 0 to 2",
    "robustness": "mean accuracy over the corruptions; robustness_mnist_c: over the fifteen of "
    "MNIST-C (arXiv 1906.02337)",
    "non_digits": f"{NON_DIGITS} pictures of each kind; share whose answer has a probability "
    "above 0.5 and 0.9, the mean over kinds",
    "auroc": "share of pairs of a digit and a non-digit in which the digit's answer has the higher "
    "probability",
}


def method(model: Any) -> Method:
    """All probabilities of a loaded recognizer, in the order of the digits.

    Raises:
        BundleError: it recognizes other things than digits.
    """
    labels = model.bundle.spec.labels
    digits = [str(digit) for digit in range(CLASSES)]
    if sorted(labels) != digits:
        raise BundleError(
            f"{model.bundle.path} recognizes {', '.join(labels) or 'nothing that has a name'}; "
            "evaluate knows the digits 0 to 9"
        )
    order = [labels.index(digit) for digit in digits]

    def probabilities(images: Pixels) -> NDArray[Any]:
        outputs = []
        for at in range(0, len(images), _BATCH):
            batch = np.stack([model.prepare(image)[0] for image in images[at : at + _BATCH]])
            outputs.append(model.opened.session(batch)[:, order])
        return np.concatenate(outputs)

    return probabilities


def evaluate(methods: Mapping[str, Method], request: Request) -> Report:
    """Ask ``methods`` for test digits, corrupted test digits, and pictures that are no digits.

    Args:
        methods: uint8 (N, 28, 28) to probabilities (N, 10), by the names of their rows.
        request: ``data`` is what ``load_digits`` takes; ``count`` of its first test digits, all by
            default; ``seed`` is that of corruptions and non-digits, 0 by default.

    Raises:
        InputError: the data cannot be read, or a method gives no probabilities.
    """
    digits = load_digits(request.data)
    images = digits.test_images.numpy()[: request.count]
    labels = digits.test_labels.numpy()[: request.count]
    seed = request.seed or 0
    names = list(methods)
    steps = _steps(names, request)

    asked = {name: _ask(name, methods[name], images, steps) for name in names}
    corrupted: dict[str, dict[str, Any]] = {name: {} for name in names}
    examples = {"as they are": images}
    for corruption in CORRUPTIONS:
        changed = corrupt(corruption, images, seed)
        examples[corruption] = changed
        for name in names:
            answers = _ask(name, methods[name], changed, steps).argmax(axis=1)
            corrupted[name][corruption] = {"accuracy": float((answers == labels).mean())}
    strange: dict[str, dict[str, Any]] = {name: {} for name in names}
    pictures = {}
    for kind in KINDS:
        pictures[kind] = non_digits(kind, NON_DIGITS, images, seed)
        for name in names:
            found = _ask(name, methods[name], pictures[kind], steps).max(axis=1)
            strange[name][kind] = _strangers(found, asked[name].max(axis=1))
    rows, details, mistakes = [], {}, []
    for name in names:
        wrong = _mistakes(asked[name], labels)
        mistakes += [{"method": name, **one} for one in wrong]
        details[name] = _details(asked[name], labels, corrupted[name], strange[name])
        rows.append({"method": name, **_means(asked[name], labels, details[name])})
    report = Report(
        settings={
            **SETTINGS,
            "data": {"name": digits.name, "images": len(images), "sha256": _hash(images, labels)},
            "seed": seed,
            "corruptions": {name: settings(name) for name in CORRUPTIONS},
        },
        rows=rows,
        images=mistakes,
        details=details,
        tables=_digit_tables.tables(rows, details),
    )
    if request.out is not None:
        _digit_pictures.draw(report, examples, labels, pictures, request.out)
    return report


def _steps(names: list[str], request: Request) -> Callable[[str], None]:
    total = len(names) * (1 + len(CORRUPTIONS) + len(KINDS))
    done = 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        request.progress(done, total, name)

    return step


def _ask(name: str, ask: Method, images: Pixels, step: Callable[[str], None]) -> NDArray[Any]:
    probabilities = ask(images)
    if probabilities.shape != (len(images), CLASSES):
        raise InputError(f"{name} gave {probabilities.shape}, expected {(len(images), CLASSES)}")
    if not np.isfinite(probabilities).all():
        raise InputError(f"{name} gave NaN; check it: dlkit verify")
    step(name)
    return probabilities


def _strangers(top: NDArray[Any], digits: NDArray[Any]) -> dict[str, Any]:
    return {
        **{f"above_{round(100 * sure)}": float((top > sure).mean()) for sure in _SURE},
        "mean_probability": float(top.mean(dtype=np.float64)),
        "auroc": classification.auroc(digits, top),
    }


def _mistakes(probabilities: NDArray[Any], labels: NDArray[Any]) -> list[dict[str, Any]]:
    """Wrong answers, the surest first."""
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
    return sorted(found, key=lambda one: -one["probability"])


def _details(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    corrupted: dict[str, Any],
    strange: dict[str, Any],
) -> dict[str, Any]:
    answers = probabilities.argmax(axis=1)
    return {
        "classes": classification.per_class(labels, answers, CLASSES),
        "confusion": classification.confusion(labels, answers, CLASSES).tolist(),
        "reliability": classification.reliability(probabilities.max(axis=1), answers == labels),
        "robustness": corrupted,
        "non_digits": strange,
    }


def _means(
    probabilities: NDArray[Any], labels: NDArray[Any], details: dict[str, Any]
) -> dict[str, Any]:
    right = int((probabilities.argmax(axis=1) == labels).sum())
    low, high = classification.wilson(right, len(labels))
    accuracies = {name: one["accuracy"] for name, one in details["robustness"].items()}
    strange = details["non_digits"].values()
    return {
        "images": len(labels),
        "right": right,
        "accuracy": right / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "ece": classification.expected_calibration_error(details["reliability"]),
        "mean_probability": float(probabilities.max(axis=1).mean(dtype=np.float64)),
        "nll": classification.negative_log_likelihood(probabilities, labels),
        "brier": classification.brier(probabilities, labels),
        "robustness": float(np.mean(list(accuracies.values()))),
        "robustness_mnist_c": float(np.mean([accuracies[name] for name in MNIST_C])),
        # Every kind has as many, so means over kinds are means over pictures.
        **{
            f"non_digits_{key}": float(np.mean([one[key] for one in strange]))
            for key in ("above_50", "above_90", "mean_probability")
        },
        "auroc": float(np.mean([one["auroc"] for one in strange])),
    }


def _hash(images: Pixels, labels: NDArray[Any]) -> str:
    """SHA-256 of what was asked: pixels, then labels, a byte each."""
    return hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()
