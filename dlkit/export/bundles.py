"""A float32 graph into a bundle of a precision: the last step of every export."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from dlkit.atomic import same_place
from dlkit.bundle import Bundle
from dlkit.bundle.own import own_files
from dlkit.errors import ExportError, UsageError
from dlkit.export.int8.search import quantize
from dlkit.export.lower import Say, lower, prepared, silent
from dlkit.export.proof.precision import check_precision
from dlkit.export.run_graph import run_graph
from dlkit.export.sample import random_samples
from dlkit.export.write import serialised
from dlkit.graph.finite import nan_weights
from dlkit.graph.read import LARGEST
from dlkit.graph.tidy import tidied
from dlkit.plugins import unknown
from dlkit.spec import PRECISIONS, ModelSpec
from dlkit.tasks import TASKS, Feeds

_NAMED = 3  # nodes that a note names
_SHOWN = 200  # characters of ONNX Runtime's error
_SAMPLES = 4  # calls on which ranges are looked at for half precision


@dataclass(frozen=True)
class Wanted:
    """What the bundle is to be.

    Attributes:
        precision: one of ``PRECISIONS``; None: float32 of what torch holds, else as it is.
        out: its folder; a folder beside what it is made from by default.
        keep: names of nodes that stay float32, for all but ``fp32``.
        data: int8: what is calibrated on; half precision: on what it is seen which tensors it
            cannot hold; as ``Task.calibration`` takes it.
        say: called with what is done next.
    """

    precision: str | None = None
    out: Path | None = None
    keep: Collection[str] = ()
    data: str | None = None
    say: Say = silent

    def check(self) -> None:
        """Refuse what cannot be, before anything is computed.

        Raises:
            UsageError: an unknown precision, or data that nobody needs.
        """
        if self.precision is not None and self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, list(PRECISIONS))
        if self.data is not None and self.precision in (None, "fp32"):
            raise UsageError(
                "--data has the inputs that int8 is calibrated on, or whose ranges half precision "
                "must hold; fp32 needs none",
                "Leave it out",
            )

    def target(self, stem: str, precision: str, beside: Path) -> Path:
        """The folder of a bundle that is made of a file."""
        return self.out or beside / f"{stem}-bundle-{precision}"


def lowered_bundle(
    graph: ir.Model, spec: ModelSpec, origin: dict[str, Any], wanted: Wanted, target: Path
) -> Bundle:
    """The bundle of a float32 graph, changed in place, in the precision of its spec.

    Raises:
        ExportError: it cannot be converted, too little of it is in the precision, or int8 loses too
            much.
    """
    check_weights(graph, spec.name)
    origin["kept_fp32"] = sorted(wanted.keep)
    if spec.precision == "fp32":
        low = lower(graph, spec.name, "fp32", wanted.keep)
        whole, weights = low.graph, low.weights
        check_precision(tidied(graph), spec, wanted.keep)
    elif spec.precision == "int8":
        prepared_graph, weights = serialised(prepared(graph, "int8"))
        if weights:  # the quantiser and what measures it hold graphs in one piece
            raise ExportError(
                f"{spec.name} has weights of {len(weights) / 1e9:.1f} GB, int8 is made of graphs "
                f"of at most {LARGEST / 1e9:.1f} GB",
                "Use --precision fp16",
            )
        found = quantize(prepared_graph, spec, origin, wanted.keep, wanted.data, wanted.say)
        whole, origin["int8"] = found.graph, found.report
        check_precision(whole, spec, wanted.keep)
    else:
        wanted.say(f"{spec.precision}: looking at ranges")
        graph = prepared(graph, spec.precision)
        samples = _samples(graph, spec, origin, wanted.data)
        if why := _unfit(graph, samples):
            origin["ranges"] = f"of weights alone: the graph cannot be run on {why}"
        low = lower(
            graph, spec.name, spec.precision, wanted.keep, samples, random=wanted.data is None
        )
        whole, weights, origin["left_fp32"] = low.graph, low.weights, dict(low.left)
        if low.unseen:
            named = ", ".join(low.unseen[:_NAMED])
            more = f" and {len(low.unseen) - _NAMED} more" if len(low.unseen) > _NAMED else ""
            origin["ranges"] = (
                f"of all but {named}{more}, in branches or loops where no run showed them"
            )
        counted = check_precision(graph, spec, wanted.keep, low.left)
        work, held = counted.shares(spec.precision)
        origin["share"] = {"multiply_adds": round(work, 4), "weights": round(held, 4)}
    bundle = Bundle.create(target, whole, spec, origin, weights)
    if bundle.origin.get("ranges") != (seen := origin.get("ranges")):  # it was there; others now
        kept = {name: one for name, one in bundle.origin.items() if name != "ranges"}
        kept |= {"ranges": seen} if seen else {}
        bundle = replace(bundle, origin=kept).with_certificate(bundle.certificate)
    return bundle


def check_weights(graph: ir.Model, name: str) -> None:
    """Refuse a graph whose weights are no numbers.

    Raises:
        ExportError: names them.
    """
    if found := nan_weights(graph):
        more = f", and {len(found) - 1} others" if len(found) > 1 else ""
        raise ExportError(
            f"{name}: {found[0]} holds NaN{more}: all that is computed with it is NaN",
            "Its training failed, or the file is damaged: give weights from before that",
        )


def check_apart(source: Path, target: Path) -> None:
    """Refuse to put a bundle in the place of what it is made from.

    Args:
        source: an ONNX file, or a bundle's folder.

    Raises:
        UsageError: it would be replaced.
        BundleError: as ``own_files``.
    """
    inside = any(same_place(source, one) for one in own_files(target))
    if inside or same_place(source, target):
        raise UsageError(
            f"{source} would be replaced by what is made of it, in {target}",
            "Choose another --out",
        )


def named_source(path: Path, target: Path) -> str:
    """Where a bundle finds what it was made from, seen from its own folder."""
    try:
        return Path(os.path.relpath(path.resolve(), target.resolve())).as_posix()
    except ValueError:  # another drive
        return path.name


def _samples(
    graph: ir.Model, spec: ModelSpec, origin: dict[str, Any], data: str | None
) -> Sequence[Feeds]:
    """Inputs, and zeros: what keeps a norm from 0 shows only there."""
    if data is None:
        found: Sequence[Feeds] = random_samples(graph, spec)
    else:
        found = TASKS.load(spec.task).calibration(spec, origin, data, 0).batches[:_SAMPLES]
    zeros = [{name: np.zeros_like(array) for name, array in feeds.items()} for feeds in found[:1]]
    return [*found, *zeros]


def _unfit(graph: ir.Model, samples: Sequence[Feeds]) -> str | None:
    """The samples' shapes and why none of them can be run, for people; None: one can."""
    why = None
    for feeds in samples:
        try:
            run_graph(graph, [feeds])
        except Exception as error:  # ONNX Runtime's own
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            line = " ".join(str(error).split())[:_SHOWN]
            why = why or f"{shapes} ({line})"
        else:
            return None
    return why
