"""What ``dlkit evaluate`` shows of classifiers on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlkit.evaluation.corruptions import CORRUPTIONS, MNIST_C, settings
from dlkit.evaluation.report import Table

_LISTED = 60  # classes in the table; report.json has all


def tables(
    rows: Sequence[Mapping[str, Any]], details: Mapping[str, Any], classes: Sequence[str]
) -> list[Table]:
    """Of digits robustness and non-digits; the first method's classes; and last, where it is seen,
    the sum."""
    first = rows[0]["method"]
    found = [_classes(first, details[first], classes), _summary(rows)]
    if "robustness" not in details[first]:
        return found
    return [_robustness(rows, details), _non_digits(rows, details), *found]


def _summary(rows: Sequence[Mapping[str, Any]]) -> Table:
    def line(what: str, show: Callable[[Mapping[str, Any]], str]) -> list[str]:
        return [what, *map(show, rows)]

    cells = [
        line("accuracy", lambda row: f"{_percent(row['accuracy'])} %"),
        line("  its 95 % interval", lambda row:
             f"{_percent(row['accuracy_low'])} to {_percent(row['accuracy_high'])} %"),
        line("  wrong answers", lambda row:
             f"{row['images'] - row['right']} of {row['images']:,}"),
        line("expected calibration error", lambda row: f"{_percent(row['ece'])} %"),
        line("negative log-likelihood", lambda row: f"{row['nll']:.4f}"),
        line("Brier score", lambda row: f"{row['brier']:.4f}"),
    ]  # fmt: skip
    if "robustness" in rows[0]:
        cells += [
        line("accuracy, corrupted", lambda row: f"{_percent(row['robustness'])} %"),
        line("non-digits above 0.5", lambda row: f"{_percent(row['non_digits_above_50'], 1)} %"),
        line("non-digits above 0.9", lambda row: f"{_percent(row['non_digits_above_90'], 1)} %"),
        line("AUROC digit, non-digit", lambda row: f"{row['auroc']:.4f}"),
    ]  # fmt: skip
    return Table("All in all", ["", *(row["method"] for row in rows)], cells)


def _robustness(rows: Sequence[Mapping[str, Any]], details: Mapping[str, Any]) -> Table:
    names = [row["method"] for row in rows]
    cells = [
        [corruption, *(_percent(details[name]["robustness"][corruption]["accuracy"])
                       for name in names)]
        for corruption in details[names[0]]["robustness"]
    ]  # fmt: skip
    cells.append([f"mean of MNIST-C's {len(MNIST_C)}",
                  *(_percent(row["robustness_mnist_c"]) for row in rows)])  # fmt: skip
    cells.append(["mean of all", *(_percent(row["robustness"]) for row in rows)])
    columns = ["corruption", *names]
    words: tuple[str, ...] = ()
    if len(names) == 1:  # several need the room
        columns, words = [*columns, "strength"], ("strength",)
        cells = [[*line, _words(settings(line[0])) if line[0] in CORRUPTIONS else ""]
                 for line in cells]  # fmt: skip
    return Table("Accuracy on corrupted digits, %", columns, cells, 2, words)


def _non_digits(rows: Sequence[Mapping[str, Any]], details: Mapping[str, Any]) -> Table:
    names = [row["method"] for row in rows]
    means = [{key.removeprefix("non_digits_"): value for key, value in row.items()} for row in rows]
    kinds = list(details[names[0]]["non_digits"])
    lines = [(kind, [details[name]["non_digits"][kind] for name in names]) for kind in kinds]
    lines.append(("mean", means))
    if len(names) > 1:
        cells = [[kind, *(_percent(one["above_50"], 1) for one in ones)] for kind, ones in lines]
        title = "Non-digits whose answer has a probability above 0.5, %"
        return Table(title, ["kind", *names], cells, 1)
    columns = ["kind", "> 0.5", "> 0.9", "mean", "AUROC"]
    cells = [[kind, *_sureness(one)] for kind, (one,) in lines]
    return Table("Probability of the answer on pictures that are no digits", columns, cells, 1)


def _sureness(one: Mapping[str, Any]) -> list[str]:
    return [f"{_percent(one['above_50'], 1)} %", f"{_percent(one['above_90'], 1)} %",
            f"{one['mean_probability']:.3f}", f"{one['auroc']:.4f}"]  # fmt: skip


def _classes(name: str, details: Mapping[str, Any], classes: Sequence[str]) -> Table:
    cells = []
    for truth, one in list(enumerate(details["classes"]))[:_LISTED]:
        others = [
            (count, other)
            for other, count in enumerate(details["confusion"][truth])
            if count and other != truth
        ]
        taken = ", ".join(
            f"{classes[other]} ({count})" for count, other in sorted(others, key=lambda p: -p[0])
        )
        shares = _percent(one["recall"]), _percent(one["precision"])
        cells.append([classes[truth], f"{one['count']:,}", *shares, taken])
    columns = ["class", "images", "recall %", "precision %", "mistaken for (times)"]
    more = f", the first {_LISTED} of {len(classes)}" if len(classes) > _LISTED else ""
    return Table(f"Classes: {name}{more}", columns, cells, 0, (columns[-1],))


def _percent(share: float | None, digits: int = 2) -> str:
    return "" if share is None else f"{100 * share:.{digits}f}"


def _words(parameters: dict[str, Any]) -> str:
    """The first two; report.json has them all."""
    found = []
    for name, value in list(parameters.items())[:2]:
        found.append(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(found)
