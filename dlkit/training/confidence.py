"""Probabilities that can be believed: a temperature, and how far they are off."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BINS = 15  # Guo et al., arXiv 1706.04599
_RANGE = (0.05, 20.0)  # beyond it the logits say nothing


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The number to divide logits by so that their softmax is most likely (Guo et al.).

    Args:
        logits: (N, classes), of data that was not trained on.
        labels: int64 (N,).

    Returns:
        1 where there is nothing to fit.
    """
    if not len(logits):
        return 1.0
    logits, labels = logits.detach().to(torch.float64), labels.detach()
    log_temperature = torch.zeros((), dtype=torch.float64, device=logits.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), labels)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return float(log_temperature.detach().exp().clamp(*_RANGE))


def expected_calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Mean distance of confidence and accuracy over 15 bins of equal width, weighted by their size.

    Args:
        probabilities: (N, classes).
        labels: int64 (N,).

    Returns:
        0 to 1.
    """
    confidence, answer = probabilities.max(1)
    right = (answer == labels).to(torch.float64)
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    sums = torch.zeros(BINS, dtype=torch.float64, device=labels.device)
    gap = sums.index_add(0, bins, right - confidence.to(torch.float64))
    return float(gap.abs().sum() / len(labels))
