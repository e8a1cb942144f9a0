"""Pace: how many files a worker takes at once."""

from __future__ import annotations

_SLOW, _QUICK = 0.3, 0.1  # seconds of a chunk: a killed run loses no more than about the first


class Pace:
    """How many items a chunk has: one at first, then as many as take a fraction of a second.

    A killed run loses what is under way, so chunks must be short in time; many small files are
    quicker in large ones.

    Args:
        most: items of a chunk.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = 1

    def took(self, items: int, seconds: float) -> None:
        """Learn from a chunk that is done."""
        if seconds > _SLOW and items >= self.size:
            self.size = max(1, self.size // 2)
        elif seconds < _QUICK and items >= self.size:
            self.size = min(self.most, self.size * 2)
