"""How good detectors of concealed objects are, beside classical ways to find them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import UsageError
from dlkit.evaluation import classical
from dlkit.evaluation.dark_regions import dark_regions
from dlkit.evaluation.gaps import alarmed, gaps_of
from dlkit.evaluation.object_pictures import draw_objects
from dlkit.evaluation.report import Evaluation, Report, Request, Table
from dlkit.mmwave import DEFAULTS
from dlkit.mmwave.concealment import Hidden, Observed
from dlkit.tasks import Model
from dlkit.tasks.detect import Detector
from dlkit.tasks.detect.decode import Float
from dlkit.tasks.detect.scans import EVALUATION_SEED, SIMULATED, boxes_of, held_out_scans, padded
from dlkit.tasks.detect.score import (
    Matched,
    at_false_alarms,
    at_threshold,
    average_precision,
    match,
    strict_precision,
)

_COUNT, _USUAL = 500, 200
_USUAL_FROM = 50_000  # seeds behind those of the other scans
_FALSE_ALARMS = 0.1  # a scan
_SMALL, _LARGE = 500, 1200  # pixels of an object that lie before the body
_FAINT = 0.6  # contrast: fainter objects than the simulator's usual ones

SETTINGS = {
    "scans": "simulated with more hidden and more clutter than usual "
    "(dlkit.mmwave.concealment), of seeds that neither training nor thresholds see",
    "box": "of what shows: what is beside the body does not",
    "unseen": "objects that change the scan by less than clothing does are not asked for, and "
    "counted by themselves",
    "ap50, ap50_95": "average precision at an intersection over union of 0.5, and its mean from "
    "0.5 to 0.95; COCO's 101 recalls",
    "recall_at_tenth": "share of the objects that are found by the lowest threshold with at most "
    "one false alarm in ten scans; a box is right from an intersection over union of 0.5 on",
    "gaps": "regions that are not body, between limbs or between arm and trunk; one alarms where "
    "a false alarm at that threshold has its middle in it, or half of its area",
}
Find = Callable[[Observed], Float]


class Objects(Evaluation):
    """Detectors, beside dark regions of the cleaned and of the noisy scan."""

    about = "average precision, recall at false alarms, by size, contrast and place; gaps"

    def evaluate(self, models: Mapping[str, Model[Any, Any, Any]], request: Request) -> Report:
        """A row a method and a bundle."""
        if request.data not in (None, SIMULATED):
            raise UsageError(
                f"--data is '{request.data}', and objects are evaluated on scans that dlkit "
                "simulates itself, on no folder", f"Leave it out, or say {SIMULATED}",
            )  # fmt: skip
        detectors = {name: cast(Detector, model) for name, model in models.items()}
        first = next(iter(detectors.values()))
        session = first.opened.beside(Bundle.open("mmwave"))

        def cleaned(observed: Observed) -> Float:
            height, width = observed.noisy.shape
            return dark_regions(session(padded(observed.noisy, 16))[0, :height, :width])

        def noisy(observed: Observed) -> Float:
            return dark_regions(classical.destripe_otsu(observed.noisy))

        ways: dict[str, Find] = {
            "dark regions, cleaned scan": cleaned,
            "dark regions, noisy scan": noisy,
        }
        for name, model in detectors.items():
            ways[name] = finder(model)
        with contextlib.closing(session):
            report, kept = measure(ways, request)
            report.tables.append(_usual({name: ways[name] for name in detectors}, request))
        for name, model in detectors.items():
            report.details[name]["sensitivity"] = {
                level: at_threshold(kept[name].matched, threshold)._asdict()
                for level, threshold in model.thresholds.items()
            }
        report.tables.append(_sensitivities(report))
        return report


@dataclass
class Kept:
    """What a method found.

    Attributes:
        boxes: of each scan, float32 (N, 5).
        matched: beside the truth, at an intersection over union of 0.5.
        threshold: that brings one false alarm in ten scans.
    """

    boxes: list[Float]
    matched: Matched
    threshold: float
    hit: set[tuple[int, int]] = field(default_factory=set)


def finder(model: Detector) -> Find:
    """All boxes of a loaded detector for one scan."""

    def find(observed: Observed) -> Float:
        pixels, size = model.prepare(observed.noisy)
        return model.boxes(model.opened.session(pixels[None])[0], size)

    return find


def measure(ways: Mapping[str, Find], request: Request) -> tuple[Report, dict[str, Kept]]:
    """Run methods over fresh simulated scans.

    Args:
        ways: by the names of their rows.
        request: ``count`` of scans, 500 by default; ``seed`` counts from where seeds of evaluations
            begin.
    """
    first = EVALUATION_SEED + (request.seed or 0)
    scans = held_out_scans(first, request.count or _COUNT)
    truth = [boxes_of(one) for one in scans]
    gaps = [gaps_of(one.body) for one in scans]
    rows: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    kept: dict[str, Kept] = {}
    for place, (name, find) in enumerate(ways.items()):
        request.show(place, len(ways), name)
        boxes = [find(one) for one in scans]
        matched = match(boxes, truth)
        best = at_false_alarms(matched, _FALSE_ALARMS)
        taken = matched.chance >= best.threshold
        hit = {(int(scan), int(thing)) for scan, thing in matched.which[taken & matched.right]}
        kept[name] = found = Kept(boxes, matched, best.threshold, hit)
        rows.append({
            "method": name, "scans": len(scans), "objects": matched.objects,
            "ap50": average_precision(matched), "ap50_95": strict_precision(boxes, truth),
            "recall_at_tenth": best.recall, "threshold": best.threshold,
            "gaps_alarmed": _gaps_alarmed(found, truth, gaps),
            "gaps": sum(int(labels.max()) for labels in gaps),
        })  # fmt: skip
        details[name] = {"recall": groups(scans, hit)}
    if request.out is not None:
        draw_objects(scans, kept, request.out)
    unseen = sum(one.unseen for one in scans)
    settings = {**SETTINGS, "data": SIMULATED, "first_seed": first, "unseen_objects": unseen}
    report = Report(settings, rows, details=details, tables=[_overall(rows), _by_group(details)])
    return report, kept


def _usual(ways: Mapping[str, Find], request: Request) -> Table:
    """The same on the scenes that the denoiser was trained on: nothing faint, bright or on the
    outline, and no clutter."""
    first = EVALUATION_SEED + _USUAL_FROM + (request.seed or 0)
    scans = held_out_scans(first, request.count or _USUAL, DEFAULTS)
    truth = [boxes_of(one) for one in scans]
    cells = []
    for name, find in ways.items():
        boxes = [find(one) for one in scans]
        matched = match(boxes, truth)
        recall = at_false_alarms(matched, _FALSE_ALARMS).recall
        cells.append([name, f"{average_precision(matched):.3f}",
                      f"{strict_precision(boxes, truth):.3f}", f"{recall:.1%}"])  # fmt: skip
    unseen = sum(one.unseen for one in scans)
    title = f"Usual scenes: {matched.objects} objects on {len(scans)} scans, {unseen} unseen"
    return Table(title, ["method", "AP50", "AP50-95", "recall at 0.1"], cells)


def _gaps_alarmed(found: Kept, truth: Sequence[Float], gaps: Sequence[NDArray[np.int32]]) -> int:
    count = 0
    for boxes, wanted, labels in zip(found.boxes, truth, gaps, strict=True):
        said = boxes[boxes[:, 4] >= found.threshold]
        right = match([said], [wanted])
        wrong = said[~right.right] if len(said) else said
        count += alarmed(wrong, labels)
    return count


def groups(
    scans: Sequence[Observed], hit: set[tuple[int, int]]
) -> dict[str, dict[str, tuple[int, int]]]:
    """How many objects were found, and how many there are, by size, contrast and place."""
    counts: dict[str, dict[str, list[int]]] = {}
    for scan, observed in enumerate(scans):
        areas = np.bincount(observed.labels.ravel(), minlength=len(observed.hidden) + 1)[1:]
        for number, (thing, area) in enumerate(zip(observed.hidden, areas, strict=True)):
            for kind, group in _groups(thing, int(area)).items():
                found = counts.setdefault(kind, {}).setdefault(group, [0, 0])
                found[0] += (scan, number) in hit
                found[1] += 1
    return {kind: {group: (one[0], one[1]) for group, one in sorted(of.items())}
            for kind, of in counts.items()}  # fmt: skip


def _groups(thing: Hidden, area: int) -> dict[str, str]:
    size = "small" if area < _SMALL else "large" if area > _LARGE else "medium"
    contrast = "bright" if thing.contrast < 0 else "faint" if thing.contrast < _FAINT else "dark"
    return {"size": size, "contrast": contrast, "place": thing.place}


def _overall(rows: list[dict[str, Any]]) -> Table:
    columns = ["method", "AP50", "AP50-95", "recall at 0.1", "gaps that alarm"]
    cells = [
        [row["method"], f"{row['ap50']:.3f}", f"{row['ap50_95']:.3f}",
         f"{row['recall_at_tenth']:.1%}", f"{row['gaps_alarmed']} of {row['gaps']}"]
        for row in rows
    ]  # fmt: skip
    return Table(f"{rows[0]['objects']} objects on {rows[0]['scans']} scans", columns, cells)


def _by_group(details: Mapping[str, Any]) -> Table:
    names = list(details)
    kinds = details[names[0]]["recall"]
    cells = []
    for kind, of in kinds.items():
        for group in of:
            found = [details[name]["recall"][kind][group] for name in names]
            shares = [f"{hits / count:.1%}" for hits, count in found]
            cells.append([f"{kind}: {group}", str(found[0][1]), *shares])
    title = "Recall at one false alarm in ten scans"
    return Table(title, ["objects", "number", *names], cells)


def _sensitivities(report: Report) -> Table:
    cells = []
    for name, detail in report.details.items():
        for level, one in detail.get("sensitivity", {}).items():
            cells.append([name, level, f"{one['threshold']:.3f}", f"{one['recall']:.1%}",
                          f"{one['false_alarms']:.3f}"])  # fmt: skip
    columns = ["method", "sensitivity", "threshold", "recall", "false alarms a scan"]
    return Table("Sensitivities", columns, cells, words=("sensitivity",))


EVALUATION = Objects()
