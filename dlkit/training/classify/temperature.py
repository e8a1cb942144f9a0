"""A temperature, so that probabilities can be believed (Guo et al., arXiv 1706.04599)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_RANGE = (0.05, 20.0)  # beyond it the logits say nothing


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The number to divide logits by so that their softmax is most likely.

    Args:
        logits: (N, classes), of data that was not trained on.
        labels: int64 (N,).

    Returns:
        1 where there is nothing to fit: no data, or no wrong answer among them, which would make
        ever smaller temperatures ever more likely.
    """
    if not len(logits) or bool((logits.argmax(1) == labels).all()):
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
