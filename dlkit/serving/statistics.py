"""Statistics of one model, as the protocol's extension has them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dlkit.serving.calls import Call, Watch

_RECENT = 1000


@dataclass
class Sum:
    """How often, and how many seconds in all."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Once more."""
        self.count += count
        self.seconds += seconds

    def to_json(self) -> dict[str, int]:
        """As the protocol has it."""
        return {"count": self.count, "ns": int(self.seconds * 1e9)}


@dataclass
class Statistics:
    """What a model did since it is served; a swap of its bundle goes on with the same.

    Attributes:
        rows: that ran.
        batches: calls of the graph.
        success, fail: requests.
        queue, compute: seconds that calls waited and ran.
        sizes: batches by their rows.
        recent: seconds of the last requests, for people.
    """

    watch: Watch = field(default_factory=Watch)
    rows: int = 0
    batches: int = 0
    success: Sum = field(default_factory=Sum)
    fail: Sum = field(default_factory=Sum)
    queue: Sum = field(default_factory=Sum)
    compute: Sum = field(default_factory=Sum)
    sizes: dict[int, Sum] = field(default_factory=dict)
    last: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def __post_init__(self) -> None:
        self._told = self.watch
        self.watch = Watch(self._batch, self._told.failed, self._told.refused)

    def done(self, seconds: float) -> None:
        """A request was answered."""
        self.success.add(seconds)
        self.recent.append(seconds)

    def percentile(self, share: float) -> float | None:
        """Seconds in which such a share of the last requests were answered."""
        if not self.recent:
            return None
        return sorted(self.recent)[min(len(self.recent) - 1, int(share * len(self.recent)))]

    def _batch(self, calls: Sequence[Call], began: float, ended: float) -> None:
        rows = 0
        for call in calls:
            rows += call.rows
            self.queue.add(max(0.0, began - call.arrived))
            self.compute.add(ended - began)
        self.rows += rows
        self.batches += 1
        self.sizes.setdefault(rows, Sum()).add(ended - began)
        self.last = time.time()
        self._told.batch(calls, began, ended)

    def to_json(self, name: str, version: str) -> dict[str, Any]:
        """As the extension has it; what is not told apart is 0."""
        none = Sum().to_json()
        return {
            "name": name,
            "version": version,
            "last_inference": int(self.last * 1000),
            "inference_count": self.rows,
            "execution_count": self.batches,
            "inference_stats": {
                "success": self.success.to_json(),
                "fail": self.fail.to_json(),
                "queue": self.queue.to_json(),
                "compute_input": none,
                "compute_infer": self.compute.to_json(),
                "compute_output": none,
            },
            "batch_stats": [
                {
                    "batch_size": size,
                    "compute_input": none,
                    "compute_infer": spent.to_json(),
                    "compute_output": none,
                }
                for size, spent in sorted(self.sizes.items())
            ],
        }
