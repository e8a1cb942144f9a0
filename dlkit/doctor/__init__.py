"""The doctor: what this machine can run, why not the rest, and the mend for each.

One file a subject; ``examination.py`` says what they give. Each appends what it finds to a common
list. A look that fails is itself a finding, and the others go on. torch is never imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dlkit.bundle import shipped
from dlkit.doctor import bundles, gpu, libraries, machine
from dlkit.doctor.examination import Attempt, Examination, Finding
from dlkit.runtime.gpu.driver import driver_version

T = TypeVar("T")


def examine(names: Sequence[str] = ()) -> Examination:
    """Look at this machine, and at bundles: the named ones, else those that ship with dlkit."""
    findings: list[Finding] = []
    found = _try("libraries", findings, lambda: libraries.look(findings)) or []
    host = _try("machine", findings, machine.look)
    driver = _try("GPU", findings, lambda: gpu.look(findings))
    gpus = driver.gpus if driver else ()
    opened = bundles.open_all(dict.fromkeys(names or shipped()), findings)
    states = [bundles.look(name, bundle, gpus, findings) for name, bundle in opened.items()]

    def tried() -> list[Attempt]:
        from dlkit.doctor import attempts  # it needs numpy, whose lack is a finding

        return attempts.look(opened, bool(gpus), findings)

    runs = _try("bundles", findings, tried) or []
    return Examination(host, driver, driver_version(), found, states, runs, findings)


def _try(about: str, findings: list[Finding], look: Callable[[], T]) -> T | None:
    """A look's result, or None and a finding: a doctor that dies of an illness helps nobody."""
    try:
        return look()
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if not any(missing and missing.startswith(finding.about) for finding in findings):
            line = str(error).strip().partition("\n")[0]
            what = f"looking at it failed: {type(error).__name__}: {line}"
            findings.append(Finding(about, what, "Report this line; what is shown still holds"))
    return None
