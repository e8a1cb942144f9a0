"""How good a classifier's probabilities are: accuracy, classes, calibration."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # Guo et al., "On Calibration of Modern Neural Networks", arXiv 1706.04599
# A probability of 0 would cost infinitely much: it counts as this much, as in scikit-learn.
_LEAST = float(np.finfo(np.float32).eps)

Probabilities = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def wilson(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, each 0 to 1.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927. Unlike
    +-1.96 deviations it holds where almost all are right.

    Args:
        right: of ``total``, at least 1.
        level: how often the interval holds the true share.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = right / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    low, high = (middle - half, middle + half)
    return max(0.0, low / (1 + z * z / total)), min(1.0, high / (1 + z * z / total))


def confusion(labels: Labels, answers: Labels, classes: int) -> NDArray[np.int64]:
    """How often each class (row) was answered by each (column): int64 (classes, classes)."""
    pairs = np.asarray(labels, np.int64) * classes + np.asarray(answers, np.int64)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def per_class(labels: Labels, answers: Labels, classes: int) -> list[dict[str, Any]]:
    """One dictionary a class.

    Returns:
        ``count``: images of the class. ``recall``: share of those that were recognized, which is
        the accuracy on the class. ``precision``: share of its answers that were right. ``f1``:
        their harmonic mean. None where nothing was counted. All but the count 0 to 1.
    """
    matrix = confusion(labels, answers, classes)
    rows, columns = matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist()
    return [
        {
            "count": count,
            "recall": right / count if count else None,
            "precision": right / answered if answered else None,
            "f1": 2 * right / (count + answered) if count + answered else None,
        }
        for right, count, answered in zip(matrix.diagonal().tolist(), rows, columns, strict=True)
    ]


def reliability(
    confidence: Probabilities, right: NDArray[np.bool_], bins: int = BINS
) -> list[dict[str, Any]]:
    """Accuracy beside confidence in ``bins`` equal intervals (low, high].

    Args:
        confidence: (N,), probability of the answer.
        right: (N,), whether the answer is true.

    Returns:
        one dictionary a bin: ``low``, ``high``, ``count``, and the means ``confidence`` and
        ``accuracy``, None in an empty bin.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.digitize(confidence, edges[1:-1], right=True)
    found = []
    for index in range(bins):
        inside = place == index
        some = bool(inside.any())
        found.append({
            "low": float(edges[index]),
            "high": float(edges[index + 1]),
            "count": int(inside.sum()),
            "confidence": float(confidence[inside].mean(dtype=np.float64)) if some else None,
            "accuracy": float(right[inside].mean()) if some else None,
        })  # fmt: skip
    return found


def expected_calibration_error(bins: list[dict[str, Any]]) -> float:
    """Mean gap between accuracy and confidence, weighted by count, 0 to 1 (Guo et al., eq. 3)."""
    total = sum(one["count"] for one in bins)
    gaps = (one["count"] * abs(one["accuracy"] - one["confidence"]) for one in bins if one["count"])
    return float(sum(gaps) / total)


def negative_log_likelihood(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of -log of the true class's probability, in nats; 0 is perfect."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.clip(true, _LEAST, 1)).mean())


def brier(probabilities: Probabilities, labels: Labels) -> float:
    """Mean squared distance to the truth, summed over classes: 0 (perfect) to 2 (Brier, 1950)."""
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities.astype(np.float64) - truth) ** 2).sum(axis=1).mean())


def auroc(positive: Probabilities, negative: Probabilities) -> float:
    """Share of pairs in which the positive's score is the higher one; a tie counts half.

    It is the U of Mann and Whitney, divided by the number of pairs (Hanley and McNeil, 1982).
    """
    from scipy.stats import mannwhitneyu  # a second

    found = mannwhitneyu(positive.astype(np.float64), negative.astype(np.float64))
    return float(found.statistic / (len(positive) * len(negative)))
