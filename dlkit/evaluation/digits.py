"""The evaluation of classifiers; of digits also robustness, and sureness of what is no digit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dlkit.evaluation import classes as of_classes
from dlkit.evaluation.class_pictures import draw_classes, draw_digits
from dlkit.evaluation.class_tables import tables
from dlkit.evaluation.classes import SETTINGS, Method, ask
from dlkit.evaluation.corruptions import CORRUPTIONS, MNIST_C, corrupt, settings
from dlkit.evaluation.non_digits import KINDS, non_digits
from dlkit.evaluation.report import Evaluation, Report, Request
from dlkit.tasks import Model
from dlkit.tasks.recognize import TASK, Recognizer
from dlkit.tasks.recognize.labelled import Labelled
from dlkit.training.classify import scores

DIGITS = tuple(map(str, range(10)))
NON_DIGITS = 500  # pictures of each kind
_SURE = (0.5, 0.9)

_DIGIT_SETTINGS = {
    "robustness": "mean accuracy over the corruptions; robustness_mnist_c: over the fifteen of "
    "MNIST-C (arXiv 1906.02337)",
    "non_digits": f"{NON_DIGITS} pictures of each kind; share whose answer has a probability "
    "above 0.5 and 0.9, the mean over kinds",
    "auroc": "share of pairs of a digit and a non-digit in which the digit's answer has the higher "
    "probability",
}


class Classification(Evaluation):
    """Classifiers on the test images of a dataset."""

    about = "accuracy, classes and calibration; of digits also corruptions and non-digits"

    def evaluate(self, models: Mapping[str, Model[Any, Any, Any]], request: Request) -> Report:
        """A row a bundle, on the data of the first one's size and classes."""
        recognizers = {name: cast(Recognizer, model) for name, model in models.items()}
        first = next(iter(recognizers.values()))
        data = TASK.labelled(first.bundle.spec, first.bundle.origin, request.data)
        named = first.labels
        if sorted(named) == list(DIGITS):
            named = DIGITS
        methods = {name: of_classes.method(model, named) for name, model in recognizers.items()}
        size = data.test_images.shape[1:]
        if named == DIGITS and size == (28, 28):  # what corruptions and non-digits are made for
            return measure_digits(methods, data, request)
        return measure_classes(methods, data, named, request)


def measure_classes(
    methods: Mapping[str, Method], data: Labelled, classes: Sequence[str], request: Request
) -> Report:
    """Ask ``methods`` for test images.

    Args:
        methods: uint8 (N, H, W) or (N, H, W, 3) RGB to probabilities (N, classes), by the names of
            their rows.
        request: ``count`` of the first test images, all by default.

    Raises:
        InputError: a method gives no probabilities, or the data has other classes.
    """
    images = data.test_images[: request.count]
    labels = of_classes.truth(data, classes)[: request.count]
    step = _steps(len(methods), request)
    rows, details, mistakes = [], {}, []
    for name, how in methods.items():
        answers = ask(name, how, images, len(classes))
        step(name)
        mistakes += [{"method": name, **one} for one in of_classes.mistakes(answers, labels)]
        details[name] = of_classes.details(answers, labels)
        rows.append({"method": name, **of_classes.means(answers, labels, details[name])})
    report = Report(
        settings={
            **SETTINGS,
            "classes": list(classes),
            "data": {
                "name": data.name,
                "images": len(images),
                "sha256": of_classes.fingerprint(images, labels),
            },
        },
        rows=rows,
        images=mistakes,
        details=details,
        tables=tables(rows, details, classes),
    )
    if request.out is not None:
        draw_classes(report, images, request.out)
    return report


def measure_digits(methods: Mapping[str, Method], data: Labelled, request: Request) -> Report:
    """Ask ``methods`` for test digits, corrupted test digits, and pictures that are no digits.

    Args:
        methods: uint8 (N, 28, 28) to probabilities (N, 10), by the names of their rows.
        request: ``count`` of the first test digits, all by default; ``seed`` is that of corruptions
            and non-digits, 0 by default.

    Raises:
        InputError: a method gives no probabilities.
    """
    images = data.test_images[: request.count]
    labels = of_classes.truth(data, DIGITS)[: request.count]
    seed = request.seed or 0
    step = _steps(len(methods) * (1 + len(CORRUPTIONS) + len(KINDS)), request)

    def every(pictures: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        found = {}
        for name, how in methods.items():
            found[name] = ask(name, how, pictures, len(DIGITS))
            step(name)
        return found

    asked = every(images)
    corrupted: dict[str, dict[str, Any]] = {name: {} for name in methods}
    examples = {"as they are": images}
    for corruption in CORRUPTIONS:
        examples[corruption] = corrupt(corruption, images, seed)
        for name, found in every(examples[corruption]).items():
            right = float((found.argmax(axis=1) == labels).mean())
            corrupted[name][corruption] = {"accuracy": right}
    strange: dict[str, dict[str, Any]] = {name: {} for name in methods}
    pictures = {}
    for kind in KINDS:
        pictures[kind] = non_digits(kind, NON_DIGITS, images, seed)
        for name, found in every(pictures[kind]).items():
            strange[name][kind] = _strangers(found.max(axis=1), asked[name].max(axis=1))
    # the same figures as of other classes, of the answers that are here already
    plain = measure_classes(
        {name: _always(found) for name, found in asked.items()},
        data,
        DIGITS,
        Request(count=request.count),
    )
    details = {
        name: {**found, "robustness": corrupted[name], "non_digits": strange[name]}
        for name, found in plain.details.items()
    }
    rows = [{**row, **_digit_means(details[row["method"]])} for row in plain.rows]
    report = Report(
        settings={
            **plain.settings,
            **_DIGIT_SETTINGS,
            "seed": seed,
            "corruptions": {name: settings(name) for name in CORRUPTIONS},
        },
        rows=rows,
        images=plain.images,
        details=details,
        tables=tables(rows, details, DIGITS),
    )
    if request.out is not None:
        draw_classes(report, images, request.out)
        draw_digits(report, examples, labels, pictures, request.out)
    return report


def _always(answers: NDArray[Any]) -> Method:
    return lambda _: answers


def _steps(total: int, request: Request) -> Callable[[str], None]:
    done = 0

    def step(name: str) -> None:
        nonlocal done
        done += 1
        request.show(done, total, name)

    return step


def _strangers(top: NDArray[Any], digits: NDArray[Any]) -> dict[str, Any]:
    return {
        **{f"above_{round(100 * sure)}": float((top > sure).mean()) for sure in _SURE},
        "mean_probability": float(top.mean(dtype=np.float64)),
        "auroc": scores.auroc(digits, top),
    }


def _digit_means(details: Mapping[str, Any]) -> dict[str, float]:
    accuracies = {name: one["accuracy"] for name, one in details["robustness"].items()}
    strange = details["non_digits"].values()
    return {
        "robustness": float(np.mean(list(accuracies.values()))),
        "robustness_mnist_c": float(np.mean([accuracies[name] for name in MNIST_C])),
        # Every kind has as many, so means over kinds are means over pictures.
        **{
            f"non_digits_{key}": float(np.mean([one[key] for one in strange]))
            for key in ("above_50", "above_90", "mean_probability")
        },
        "auroc": float(np.mean([one["auroc"] for one in strange])),
    }


EVALUATION = Classification()
