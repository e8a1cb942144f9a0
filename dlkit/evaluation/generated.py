"""How good generators of digits are: like real ones, of all kinds, of the class that was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dlkit.errors import InputError, UsageError
from dlkit.evaluation.class_score import classification_accuracy
from dlkit.evaluation.features import Recogniser, Seen
from dlkit.evaluation.generated_pictures import draw_generated
from dlkit.evaluation.manifold import NEIGHBOURS, frechet_distance, nearest, neighbourhoods
from dlkit.evaluation.report import Evaluation, Report, Request, Table
from dlkit.evaluation.task_metrics import TASK_METRICS
from dlkit.images import UInt8
from dlkit.tasks import Model
from dlkit.tasks.generate import Generator
from dlkit.tasks.recognize.datasets import load_labelled
from dlkit.tasks.recognize.labelled import Labelled

REAL = "real digits"
_DIGIT, _LABELS = (28, 28), tuple(map(str, range(10)))
_COUNT = 10_000
_SEED = 0
_TRAINED_ON = 60_000  # generated digits

SETTINGS = {
    "features": "the last hidden layer of the shipped recogniser; real: test digits",
    "frechet": "Fréchet's distance of the features, 0 where they lie alike (arXiv 1706.08500)",
    "precision, recall": f"arXiv 1904.06991, {NEIGHBOURS} neighbours",
    "density, coverage": f"arXiv 2002.09797, {NEIGHBOURS} neighbours",
    "mnist_score": "exp of the mean divergence of a digit's class probabilities from their mean "
    "(arXiv 1606.03498): 1 to 10, sure and of all classes",
    "label_accuracy": "share that the recogniser takes for the class that was asked for",
    "rarest_class": "share of the class that is made least, by the recogniser; a tenth is even",
    "class_score": "classification accuracy score (arXiv 1905.10887): accuracy on real test digits "
    f"of a LeNet (recipe lenet_relu) trained on {_TRAINED_ON:,} generated ones alone; left out "
    "with --slow 0",
    "nearer_to_training": "share of digits that are nearer, in pixels, to a training digit than to "
    "a test digit, of as many of each: one half where nothing is copied",
}


class GeneratedDigits(Evaluation):
    """Generators of digits; others by the metrics of their held-out noise."""

    about = "Fréchet distance, precision, recall, density, coverage, label accuracy, copies"

    def evaluate(self, models: Mapping[str, Model[Any, Any, Any]], request: Request) -> Report:
        """A row a bundle, and one of real training digits."""
        generators = {name: cast(Generator, model) for name, model in models.items()}
        if not all(map(_makes_digits, generators.values())):
            return TASK_METRICS.evaluate(models, request)
        data = load_labelled(request.data or "mnist-mini")
        if not data.digits:
            raise UsageError(
                f"{data.name} holds no digits in MNIST's form", "Name some with --data"
            )
        return measure_generated(generators, data, request)


def measure_generated(
    generators: Mapping[str, Generator], data: Labelled, request: Request
) -> Report:
    """Compare generated digits with the test digits of ``data``.

    Args:
        request: ``count`` of the first test digits, at most 10,000 by default, and as many
            generated ones, of the same classes; ``seed`` is that of the noise, 0 by default.
    """
    real = data.test_images[: request.count or _COUNT]
    labels = data.test_labels[: len(real)]
    if min(len(real), len(data.train_images)) <= NEIGHBOURS:
        raise InputError(
            f"{len(real)} test digits and {len(data.train_images)} others are too few for the "
            f"{NEIGHBOURS} nearest of each, expected {NEIGHBOURS + 1} or more",
            f"Give --count {NEIGHBOURS + 1} or more",
        )
    seed = _SEED if request.seed is None else request.seed
    rows: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    steps = len(generators) + 1
    with Recogniser() as recogniser:
        seen = recogniser(real)
        order = np.random.default_rng(seed).permutation(len(data.train_images))[: len(real)]
        request.show(0, steps, REAL)
        training, classes = data.train_images[order], data.train_labels[order]
        row, details[REAL] = _compared(recogniser(training), seen, classes)
        rows.append({"method": REAL, "digits": len(training), **row})
        for place, (name, generator) in enumerate(generators.items(), start=1):
            request.show(place, steps, name)
            asked = [data.classes[at] for at in labels] if generator.labels else None
            made = generator.generate(len(real), asked, seed, batch=256)
            row, details[name] = _compared(recogniser(made), seen, labels if asked else None)
            row["nearer_to_training"] = _nearer(made, training, real[: len(training)])
            if request.slow and asked:
                row["class_score"] = classification_accuracy(generator, data, _TRAINED_ON, seed)
            rows.append({"method": name, "digits": len(made), **row})
            if request.out is not None:
                draw_generated(name, generator, data.train_images, seed, request.out)
        about = recogniser.about
    settings = {**SETTINGS, "recogniser": about, "data": data.name, "digits": len(real),
                "seed": seed}  # fmt: skip
    return Report(settings, rows, details=details, tables=_tables(rows))


def _makes_digits(generator: Generator) -> bool:
    spec = generator.bundle.spec
    of_digits = generator.bundle.origin.get("dataset") in ("mnist", "mnist-mini")
    if spec.labels:
        of_digits = spec.labels == _LABELS
    return of_digits and tuple(spec.output.shape[1:]) == _DIGIT


def _compared(
    made: Seen, real: Seen, asked: NDArray[np.int64] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A row, and details, of digits beside real ones."""
    mean = made.probabilities.mean(0, dtype=np.float64)
    sure = made.probabilities.astype(np.float64).clip(1e-12)
    shares = np.bincount(made.answers, minlength=len(mean)) / len(made.answers)
    row: dict[str, Any] = {
        "frechet": frechet_distance(made.features, real.features),
        **neighbourhoods(real.features, made.features),
        "mnist_score": float(np.exp((sure * np.log(sure / mean.clip(1e-12))).sum(1).mean())),
        "rarest_class": float(shares.min()),
        "label_accuracy": None,
        "class_score": None,
        "nearer_to_training": None,
    }
    details: dict[str, Any] = {"classes": shares.tolist()}
    if asked is not None:
        right = made.answers == asked
        row["label_accuracy"] = float(right.mean())
        details["label_accuracy"] = [
            float(right[asked == label].mean()) if (asked == label).any() else None
            for label in range(len(mean))
        ]
    return row, details


def _nearer(made: UInt8, training: UInt8, test: UInt8) -> float:
    """Share of digits that are nearer to a training than to a test digit."""
    return float((nearest(made, training)[1] < nearest(made, test)[1]).mean())


def _tables(rows: list[dict[str, Any]]) -> list[Table]:
    like = {
        "frechet": "Fréchet", "precision": "precision", "recall": "recall", "density": "density",
        "coverage": "coverage", "mnist_score": "MNIST score",
    }  # fmt: skip
    asked = {
        "label_accuracy": "label accuracy", "class_score": "class score",
        "rarest_class": "rarest class", "nearer_to_training": "nearer to training",
    }  # fmt: skip
    titles = {"Like real digits, and of all kinds": like, "Of the class, and no copies": asked}
    return [
        Table(
            title,
            ["", *columns.values()],
            [[row["method"], *(_cell(row[key]) for key in columns)] for row in rows],
        )
        for title, columns in titles.items()
    ]


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if value < 1 else f"{value:.3f}"


EVALUATION = GeneratedDigits()
