"""The rows of a result: what the rounds of one way come to, as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dlkit.bench import calls, measure, plan
from dlkit.bench.result import (
    BundleRow,
    CeilingRates,
    FolderRow,
    ImageRates,
    InferenceRow,
    SpreadValues,
    WayRow,
)
from dlkit.bundle import Bundle
from dlkit.graph import multiply_adds

Rounds = Sequence[Mapping[str, Any]]


def about(name: str, bundle: Bundle, settings: plan.Settings) -> BundleRow:
    """A bundle: what it is and how much arithmetic one sample takes."""
    spec, certificate = bundle.spec, bundle.certificate
    batch = spec.fixed_batch or 1
    shapes = calls.input_shapes(spec, batch, settings.size, settings.axes)
    adds = multiply_adds(bundle.onnx, shapes)
    files = [bundle.onnx, *([bundle.weights] if bundle.weights else [])]
    unit = calls.unit(spec)
    return {
        "name": name,
        "network": bundle.spec.name,
        "task": bundle.spec.task,
        "precision": bundle.spec.precision,
        "path": str(bundle.path),
        "sha256": bundle.sha256,
        "model_bytes": sum(file.stat().st_size for file in files),
        "sample": unit,
        "inputs": {
            name: list(shape if unit == "call" else shape[1:]) for name, shape in shapes.items()
        },
        "multiply_adds": None if adds is None else adds // batch,
        "metrics_of": certificate.inputs.name if certificate else None,
    }


def ceiling(rounds: Rounds) -> CeilingRates:
    """The machine's own rates."""
    sampled: list[ImageRates] = [
        {
            "what": what,
            "decode_per_s": _spread(rounds, "images", what, "decode_per_s"),
            "encode_per_s": _spread(rounds, "images", what, "encode_per_s"),
        }
        for what in rounds[0]["images"]
    ]
    return {
        "gflops": _spread(rounds, "gflops"),
        "copy_gb_s": _spread(rounds, "copy_gb_s"),
        "images": sampled,
    }


def inference(
    way: plan.Way, rounds: Rounds, bundle: BundleRow, top: CeilingRates | None
) -> InferenceRow:
    """A session with one batch. The share is of the processor's float32 matrix product, so a
    narrower type may exceed it; None on another device, or where the arithmetic is not known.
    """
    calls = sum(int(one["calls"]) for one in rounds)
    speed = _spread(rounds, "samples_per_s")
    share = None
    if bundle["multiply_adds"] and top and way.device == "cpu":
        gflops = speed["median"] * 2 * bundle["multiply_adds"] / 1e9
        share = gflops / top["gflops"]["median"]
    return {
        **_identity(way, str(rounds[0]["sha256"]), speed, _peak(rounds)),
        "batch": way.batch,
        "latency_s": measure.percentiles([one["latencies_s"] for one in rounds], calls),
        "calls": calls,
        "load_s": _spread(rounds, "load_s"),
        "first_s": _spread(rounds, "first_s"),
        "share_of_ceiling": share,
    }


def folder(
    way: plan.Way,
    rounds: Rounds,
    count: int,
    rows: Sequence[InferenceRow],
    top: CeilingRates | None,
) -> FolderRow:
    """The task's command over a folder of ``count`` files.

    Its bound is what overlapping could reach if decoding, inference and encoding kept all
    processors busy: 1 / (1/decode + 1/inference + 1/encode), each rate with all processors.
    """
    seconds = [float(one["process_s"]) for one in rounds]
    after = [
        (count - 1) / (one["process_s"] - one["start_s"])
        for one in rounds
        if count > 1 and one["process_s"] > one["start_s"]
    ]
    after_start = measure.Spread.of(after).json() if len(after) == len(rounds) else None
    same = [
        row
        for row in rows
        if (row["bundle"], row["backend"], row["device"]) == (way.name, way.backend, way.device)
    ]
    bound = None
    if same and top and top["images"] and way.device == "cpu":
        rates = [top["images"][0]["decode_per_s"]["median"]]
        rates.append(max(row["samples_per_s"]["median"] for row in same))
        if calls.gives_images(way.bundle.spec):
            rates.append(top["images"][0]["encode_per_s"]["median"])
        bound = 1 / sum(1 / rate for rate in rates)
    speed = measure.Spread.of([count / one for one in seconds]).json()
    sha256 = same[0]["sha256"] if same else way.bundle.sha256
    return {
        **_identity(way, sha256, speed, _peak(rounds)),
        "files": count,
        "seconds": measure.Spread.of(seconds).json(),
        "start_s": _spread(rounds, "start_s"),
        "samples_per_s_after_start": after_start,
        "bound_samples_per_s": bound,
        "share_of_bound": after_start["median"] / bound if after_start and bound else None,
    }


def few_note(folders: Sequence[FolderRow]) -> str | None:
    """A warning where the folder is too small to tell a rate from start-up; None otherwise."""
    if all(row["seconds"]["median"] >= 2 * row["start_s"]["median"] for row in folders):
        return None
    return f"{folders[0]['files']:,} files last hardly longer than start-up: use a larger folder"


def _identity(way: plan.Way, sha256: str, speed: SpreadValues, peak: SpreadValues | None) -> WayRow:
    return {
        "bundle": way.name,
        "task": way.bundle.spec.task,
        "precision": way.bundle.spec.precision,
        "backend": way.backend,
        "device": way.device,
        "sha256": sha256,
        "metrics": plan.certified(way, sha256),
        "samples_per_s": speed,
        "peak_bytes": peak,
    }


def _spread(rounds: Rounds, *keys: str) -> SpreadValues:
    values = []
    for one in rounds:
        value: Any = one
        for key in keys:
            value = value[key]
        values.append(float(value))
    return measure.Spread.of(values).json()


def _peak(rounds: Rounds) -> SpreadValues | None:
    known = [one for one in rounds if one["peak_bytes"] is not None]
    return _spread(known, "peak_bytes") if known else None
