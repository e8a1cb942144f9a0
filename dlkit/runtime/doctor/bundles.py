"""The bundles: their files and hashes, what their graph asks of a runtime, and their engines."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import replace

from dlkit.bundle import Bundle
from dlkit.engine import Engine, engine_files
from dlkit.errors import DlkitError
from dlkit.runtime.doctor.onnx_header import read_header
from dlkit.runtime.doctor.report import BundleState, Cuda, EngineState, Finding, Gpu, OnnxLimits
from dlkit.runtime.engines import why_not_here
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
        engines=_engines(name, bundle, cuda, findings),
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


def _engines(
    name: str, bundle: Bundle, cuda: Cuda | None, findings: list[Finding]
) -> list[EngineState]:
    """Each engine: whole, of this graph, and fit for this machine.

    One that does not fit is a problem where there is a GPU and no other engine fits. Else it is a
    note: a bundle may carry engines for several machines, and without a GPU none runs.
    """
    states: list[EngineState] = []
    misfits: list[Finding] = []
    gpus = cuda.gpus if cuda else []
    for path in engine_files(bundle):
        about = f"{name}/{path.relative_to(bundle.path)}"
        try:
            engine = Engine.open(path, bundle)
            engine.read()
        except (DlkitError, OSError) as error:
            what, _ = split(str(error).removeprefix(f"{path} "))
            mend = f"delete it, then build it again: dlkit export {bundle.path} --trt"
            findings.append(Finding(about, what, mend))
            states.append(EngineState(path.name, False, what))
            continue
        misfit = _misfit(engine, about, bundle, gpus)
        if misfit:
            misfits.append(misfit)
        reason = misfit.what if misfit else None if gpus else "it needs an NVIDIA GPU"
        states.append(EngineState(path.name, reason is None, reason))
    bad = bool(gpus) and not any(state.fits for state in states)
    findings += [replace(misfit, problem=bad) for misfit in misfits]
    return states


def _misfit(engine: Engine, about: str, bundle: Bundle, gpus: list[Gpu]) -> Finding | None:
    flavors = {flavor: why_not(flavor) for flavor in FLAVORS}
    wanted = engine.key.flavor
    if absent := flavors.get(wanted):
        return Finding(about, *split(absent, ("; ",)))
    there = wanted if wanted in flavors else None
    version = str(importlib.import_module(there).__version__) if there else None
    if not gpus and version == engine.key.version:
        return None  # nothing but a GPU is missing, and that is said once
    reason = why_not_here(engine, there, version, gpus[0].compute if gpus else None)
    return Finding(about, *split(reason)) if reason else None
