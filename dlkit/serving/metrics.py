"""Figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from dlkit.serving.calls import Call, Watch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        own = self.registry
        self.requests = Counter(
            "dlkit_requests_total",
            "Requests by protocol and status.",
            ["protocol", "status"],
            registry=own,
        )
        self.seconds = Histogram(
            "dlkit_request_seconds",
            "From a request's head to its answer's end.",
            ["protocol"],
            buckets=_SECONDS,
            registry=own,
        )
        self.queue = Histogram(
            "dlkit_queue_seconds",
            "From arrival to the begin of its batch.",
            ["model"],
            buckets=_SECONDS,
            registry=own,
        )
        self.compute = Histogram(
            "dlkit_compute_seconds", "Of one batch.", ["model"], buckets=_SECONDS, registry=own
        )
        self.rows = Histogram(
            "dlkit_batch_rows", "Of one batch.", ["model"], buckets=_ROWS, registry=own
        )
        self.rejected = Counter(
            "dlkit_rejected_total",
            "Requests that a model did not take, by reason: queue, deadline, closed.",
            ["model", "reason"],
            registry=own,
        )
        self.failed = Counter(
            "dlkit_failed_total", "Calls on which the graph failed.", ["model"], registry=own
        )
        self.waiting = Gauge("dlkit_waiting_rows", "Rows that wait.", ["model"], registry=own)
        self.ready = Gauge(
            "dlkit_model_ready", "1 where the model answers.", ["model"], registry=own
        )
        self._of: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def watch(self, model: str) -> Watch:
        """What a model's batcher tells."""
        queue, compute = self.queue.labels(model), self.compute.labels(model)
        rows, failed = self.rows.labels(model), self.failed.labels(model)
        for reason in ("queue", "deadline", "closed"):
            self.rejected.labels(model, reason)

        def batch(calls: Sequence[Call], began: float, ended: float) -> None:
            for call in calls:
                queue.observe(max(0.0, began - call.arrived))
            compute.observe(ended - began)
            rows.observe(sum(call.rows for call in calls))

        return Watch(batch, failed.inc, lambda reason: self.rejected.labels(model, reason).inc())

    def request(self, protocol: str, status: str, seconds: float) -> None:
        """One request was answered."""
        found = self._of.get((protocol, status))
        if found is None:
            found = self.requests.labels(protocol, status), self.seconds.labels(protocol)
            self._of[protocol, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def waits(self, model: str, rows: Callable[[], int]) -> None:
        """Ask for a model's waiting rows whenever the figures are read."""
        self.waiting.labels(model).set_function(rows)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)
