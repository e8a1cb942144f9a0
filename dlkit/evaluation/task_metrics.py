"""The evaluation of tasks that have no other: the metrics of their held-out data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlkit.errors import InputError
from dlkit.evaluation.report import Evaluation, Report, Request, Table
from dlkit.tasks import TASKS, Model


class TaskMetrics(Evaluation):
    """What the task's own score says of held-out inputs."""

    about = "the task's metrics on held-out inputs"

    def evaluate(self, models: Mapping[str, Model[Any, Any, Any]], request: Request) -> Report:
        """A row a bundle."""
        rows: list[dict[str, Any]] = []
        settings: dict[str, Any] = {}
        for place, (name, model) in enumerate(models.items()):
            request.show(place, len(models), name)
            spec = model.bundle.spec
            data = TASKS.load(spec.task).held_out(
                spec, model.bundle.origin, request.data, request.count
            )
            outputs = [model.opened.session.run(feeds) for feeds in data.batches[: data.scored]]
            metrics = data.score(outputs)
            if not metrics:
                raise InputError(
                    f"nobody knows what {name} should answer on {data.name}: there is no metric",
                    "Compare it with what it was made from: dlkit verify --against",
                )
            settings = {"data": data.name, "sha256": data.fingerprint()}
            rows.append({"method": name, "images": data.count, **metrics})
        columns = list(rows[0])
        cells = [[_cell(row[column]) for column in columns] for row in rows]
        return Report(settings, rows, tables=[Table("Held-out inputs", columns, cells)])


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


TASK_METRICS = TaskMetrics()
