"""How a folder run goes: what is done, was done before, and failed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from dlkit.runtime.folders.sources import LeftOut

_FAILURES_KEPT = 20  # the manifest has them all


@dataclass
class Tally:
    """How a run went.

    Attributes:
        failures: the first failed names and why.
        left_out: what the folders hold besides.
    """

    done: int = 0
    skipped: int = 0
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)
    begun: float = field(default_factory=time.monotonic)

    def fail(self, name: str, error: str) -> None:
        """Count a failure; keep the first ones."""
        self.failed += 1
        if len(self.failures) < _FAILURES_KEPT:
            self.failures.append((name, error))

    @property
    def all(self) -> int:
        """Files that are through."""
        return self.done + self.skipped + self.failed

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return max(time.monotonic() - self.begun, 1e-9)
