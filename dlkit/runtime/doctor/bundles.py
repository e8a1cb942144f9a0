"""The bundles: their files and hashes, what their graph asks of a runtime, and their engines."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from dlkit.bundle import Bundle
from dlkit.engine import Engine, engine_files
from dlkit.errors import DlkitError
from dlkit.runtime.doctor.engine_fit import why_not_here
from dlkit.runtime.doctor.onnx_header import read_header
from dlkit.runtime.doctor.report import BundleState, Cuda, EngineState, Finding, OnnxLimits
from dlkit.runtime.flavor import FLAVORS, why_not


def open_all(names: Iterable[str], findings: list[Finding]) -> dict[str, Bundle]:
    """The bundles that open, by the name they were asked for; the others are problems."""
    opened: dict[str, Bundle] = {}
    for name in names:
        try:
            opened[name] = Bundle.open(name)
        except (DlkitError, OSError) as error:
            findings.append(Finding(name, *split(str(error))))
    return opened


def look(name: str, bundle: Bundle, cuda: Cuda | None, findings: list[Finding]) -> BundleState:
    """One bundle's state."""
    header = None
    try:
        header = read_header(bundle.onnx)
    except (DlkitError, OSError) as error:
        findings.append(Finding(name, *split(str(error))))
    return BundleState(
        name=name,
        path=str(bundle.path),
        task=bundle.spec.task,
        precision=bundle.spec.precision,
        ir_version=header.ir_version if header else None,
        opset=header.opsets.get("ai.onnx") if header else None,
        engines=[_engine(name, path, bundle, cuda, findings) for path in engine_files(bundle)],
    )


def split(message: str, marks: tuple[str, ...] = (". ", "; ", ": ")) -> tuple[str, str]:
    """What is wrong, and its mend, which dlkit's messages end in; no mend is an empty one."""
    for mark in marks:
        what, found, mend = message.rpartition(mark)
        if found and mend[:1].isalpha():
            return what, mend[0].lower() + mend[1:]
    return message, ""


def too_new(state: BundleState, limits: OnnxLimits | None) -> list[str]:
    """What of a bundle's header is above what the installed ONNX Runtime reads."""
    if limits is None:
        return []
    return [
        f"model.onnx has {what} {has}; the installed onnxruntime reads up to {reads}"
        for what, has, reads in (
            ("IR version", state.ir_version, limits.ir_version),
            ("opset", state.opset, limits.opset),
        )
        if has is not None and reads is not None and has > reads
    ]


def _engine(
    name: str, path: Path, bundle: Bundle, cuda: Cuda | None, findings: list[Finding]
) -> EngineState:
    """One engine: whole, of this graph, and fit for this machine.

    On a machine without a GPU, where no engine runs, one that does not fit is no problem.
    """
    try:
        engine = Engine.open(path, bundle)
        engine.read()
    except (DlkitError, OSError) as error:
        findings.append(Finding(name, *split(str(error))))
        return EngineState(path.name, False, str(error))
    flavors = {flavor: why_not(flavor) for flavor in FLAVORS}
    there = [flavor for flavor, reason in flavors.items() if reason is None]
    flavor = engine.key.flavor if engine.key.flavor in there else next(iter(there), None)
    version = str(importlib.import_module(flavor).__version__) if flavor else None
    gpus = cuda.gpus if cuda else []
    mend = f"build it again: dlkit export {bundle.path} --trt"
    reason = why_not_here(engine, flavor, version, gpus[0].compute if gpus else None)
    if reason is not None:
        if engine.key.flavor not in there and (absent := flavors.get(engine.key.flavor)):
            reason, mend = f"engine {path.name}: {absent.partition(';')[0]}", split(absent)[1]
        else:
            reason = f"engine {path.name}: {reason}"
        findings.append(Finding(name, reason, mend, problem=bool(gpus)))
    elif not gpus:
        reason = "an engine runs on an NVIDIA GPU only"
    return EngineState(path.name, reason is None, reason)
