"""What ``dlkit export`` takes: a run, a bundle, or any ONNX file with its spec; always a bundle."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from dlkit.bundle import Bundle, sha256, shipped
from dlkit.errors import ExportError, UsageError
from dlkit.export.onnx import OPSET_BFLOAT16, export_run, lower
from dlkit.export.quantize import Progress, quantize
from dlkit.spec import ModelSpec

_NO_DATA = "the other precisions need none: leave it out"


def to_bundle(
    source: str,
    precision: str | None = None,
    out: Path | None = None,
    keep: Collection[str] = (),
    spec: Path | None = None,
    data: str | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """A bundle in the precision that is asked for, from whatever ``source`` is.

    Args:
        source: a run's folder; a bundle's folder or shipped name; or an ONNX file.
        precision: fp32 for a run, and what a bundle or an ONNX file has, by default. A float32
            bundle or file is converted.
        out: the bundle's folder. By default inside the run; beside a bundle or file.
        keep: names of nodes that stay float32.
        spec: JSON file with the ``ModelSpec`` of an ONNX file.
        data: int8: training images to calibrate on, as ``calibration_images`` takes them.
        progress: called with what is done next.

    Raises:
        DlkitError: it cannot be read, or not be converted.
    """
    if data is not None and precision != "int8":
        raise UsageError(f"--data has the images that int8 is calibrated on; {_NO_DATA}")
    path = Path(source)
    if path.is_file():
        if spec is None:
            raise UsageError(
                f"{path} is a file: to export an ONNX file, say what it takes and gives with "
                "--spec SPEC.json (the 'spec' of any model.json shows the form)"
            )
        return _from_onnx(path, _read_spec(spec), precision, out, keep, data, progress)
    if spec is not None:
        raise UsageError(f"--spec belongs to an ONNX file; {path} is none")
    if path.is_dir() and not (path / "model.json").is_file():
        return export_run(path, precision or "fp32", out, keep, data, progress)
    if not path.exists() and source not in shipped():
        raise UsageError(
            f"there is no run, bundle or ONNX file at {path}. Train a run: dlkit train lenet_relu; "
            f"or export a bundle that ships with dlkit: {', '.join(shipped())}"
        )
    bundle = Bundle.open(source)
    if precision in (None, bundle.spec.precision) and not keep:
        if out is None:
            return bundle
        copy = Bundle.create(out, bundle.onnx.read_bytes(), bundle.spec, bundle.origin)
        return copy.with_certificate(bundle.certificate)
    wanted = precision or bundle.spec.precision
    beside = Path(bundle.spec.name) if bundle.path.name == source else bundle.path
    target = out or beside.with_name(f"{beside.name}-{wanted}")
    origin = {**bundle.origin, "converted_from_sha256": bundle.sha256, "kept_fp32": sorted(keep)}
    graph = _convert(bundle.onnx, bundle.spec, wanted, keep, origin, data, progress)
    return Bundle.create(target, graph, replace(bundle.spec, precision=wanted), origin)


def _from_onnx(
    path: Path,
    spec: ModelSpec,
    precision: str | None,
    out: Path | None,
    keep: Collection[str],
    data: str | None,
    progress: Progress | None,
) -> Bundle:
    wanted = precision or spec.precision
    origin: dict[str, Any] = {"onnx_file": path.name, "converted_from_sha256": sha256(path)}
    if wanted == spec.precision and not keep:
        graph = path.read_bytes()
    else:
        origin["kept_fp32"] = sorted(keep)
        graph = _convert(path, spec, wanted, keep, origin, data, progress)
    target = out or path.with_name(f"{path.stem}-bundle-{wanted}")
    return Bundle.create(target, graph, replace(spec, precision=wanted), origin)


def _convert(
    path: Path,
    spec: ModelSpec,
    precision: str,
    keep: Collection[str],
    origin: dict[str, Any],
    data: str | None,
    progress: Progress | None,
) -> bytes:
    """The graph in another precision; int8 adds its report to ``origin``."""
    if spec.precision != "fp32":
        raise UsageError(
            f"{path} is {spec.precision}: only fp32 can be converted to {precision}. "
            "Give the run, or the fp32 bundle, that it came from"
        )
    try:
        model = ir.load(path)
    except Exception as error:  # protobuf's errors have no common public base
        raise ExportError(f"{path} is no ONNX file that can be read: {error}") from error
    if precision == "bf16" and (model.opset_imports.get("", 0)) < OPSET_BFLOAT16:
        raise ExportError(
            f"{path} has opset {model.opset_imports.get('')}, bfloat16 convolutions need "
            f"{OPSET_BFLOAT16}: export the run with --precision bf16"
        )
    if precision == "int8":
        full = lower(model, spec.name, "fp32")
        int8 = quantize(full, spec, origin, keep, data, progress)
        origin["int8"] = int8.report
        return int8.graph
    return lower(model, spec.name, precision, keep)


def _read_spec(path: Path) -> ModelSpec:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds {type(data).__name__}, expected an object")
    return ModelSpec.from_json(data.get("spec", data))
