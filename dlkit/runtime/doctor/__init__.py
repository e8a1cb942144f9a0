"""The doctor: what this machine can run, why not the rest, and the mend for each.

One file a subject; ``report.py`` says what they give. Each appends what it finds to a common list.
A look that fails is itself a finding, and the others go on. torch is never imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from dlkit.bundle import shipped
from dlkit.runtime.doctor import libraries as library_files
from dlkit.runtime.doctor.report import (
    BundleState,
    Cuda,
    Finding,
    Machine,
    OnnxLimits,
    Report,
    Run,
)

T = TypeVar("T")


def examine(names: Sequence[str] = ()) -> Report:
    """Look at this machine, and at bundles: the named ones, else those that ship with dlkit."""
    # The looks import their files inside: without numpy some cannot, which is a finding too.
    findings: list[Finding] = []
    libraries = _try("libraries", findings, lambda: library_files.look(findings)) or []
    machine = _try("machine", findings, _machine)
    imported = {library.module for library in libraries if library.imports}
    onnxruntime = sys.modules.get("onnxruntime") if "onnxruntime" in imported else None

    def cuda_look() -> Cuda:
        from dlkit.runtime.doctor import cuda_libraries, gpu

        return cuda_libraries.look(gpu.look(findings), onnxruntime, findings)

    def limits_look() -> OnnxLimits | None:
        from dlkit.runtime.doctor import onnx_limits

        return onnx_limits.look(onnxruntime, findings) if onnxruntime else None

    cuda = _try("GPU", findings, cuda_look)
    limits = _try("onnxruntime", findings, limits_look)

    def bundles_look() -> tuple[list[BundleState], list[Run]]:
        from dlkit.runtime.doctor import bundles, runs

        opened = bundles.open_all(dict.fromkeys(names or shipped()), findings)
        states: list[BundleState] = []
        explained = set()
        for name, bundle in opened.items():
            state = bundles.look(name, bundle, cuda, findings)
            states.append(state)
            for line in bundles.too_new(state, limits):
                explained.add(name)
                mend = f"pip install --upgrade {library_files.ONNXRUNTIME}, or export it again"
                findings.append(Finding(name, line, mend))
        return states, runs.look(opened, explained, findings)

    states, runs = _try("bundles", findings, bundles_look) or ([], [])
    return Report(machine, cuda, libraries, limits, states, runs, findings)


def _machine() -> Machine:
    from dlkit.runtime.doctor import machine

    return machine.look()


def _try(about: str, findings: list[Finding], look: Callable[[], T]) -> T | None:
    """A look's result, or None and a finding: a doctor that dies of an illness helps nobody."""
    try:
        return look()
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if not any(missing and missing.startswith(finding.about) for finding in findings):
            line = str(error).strip().partition("\n")[0]
            what = f"looking at it failed: {type(error).__name__}: {line}"
            findings.append(Finding(about, what, "report this line; what is shown still holds"))
    return None
