"""What runs: every backend on every device, with a real session on each bundle."""

from __future__ import annotations

from typing import Any

from dlkit.bundle import Bundle
from dlkit.errors import BackendError
from dlkit.runtime.doctor.bundles import split
from dlkit.runtime.doctor.report import Finding, Run
from dlkit.runtime.processors import cpu_count
from dlkit.runtime.session import BACKENDS, DEVICES

_BUG = "this is a bug of dlkit or of the library: report it with this line"


def look(bundles: dict[str, Bundle], explained: set[str], findings: list[Finding]) -> list[Run]:
    """Open every bundle on every backend and device that says it can.

    A backend that says why it cannot is no problem; one that says it can and then refuses is. So
    is a bundle that nothing here can run.

    Args:
        explained: bundles whose refusal is a finding already.
    """
    runs: list[Run] = []
    ill = {finding.about for finding in findings if finding.problem}
    for backend in BACKENDS.names():
        try:
            module = BACKENDS.load(backend)
        except Exception as error:  # whatever a broken file raises is what is reported
            findings.append(Finding(backend, f"its backend does not load: {_line(error)}", _BUG))
            continue
        for device in (kind for kind in DEVICES if kind in module.DEVICES):
            for name, bundle in bundles.items():
                run, finding = _run(module, backend, device, name, bundle)
                runs.append(run)
                known = name in explained or backend in ill
                if finding and not known and finding not in findings:
                    findings.append(finding)
    for name in bundles:
        if name not in explained and not any(run.runs for run in runs if run.bundle == name):
            mend = "the table above says why, and the mend for each backend"
            findings.append(Finding(name, "nothing on this machine can run it", mend))
    return runs


def _run(
    module: Any, backend: str, device: str, name: str, bundle: Bundle
) -> tuple[Run, Finding | None]:
    reason: str | None
    finding = None
    try:
        reason = module.unavailable(bundle, device)
        if reason is None:
            module.open_session(bundle, device, cpu_count(), 1)
    except BackendError as error:
        reason = _line(error)
        what, mend = split(reason, (". ", "; "))
        mend = mend or "use another backend, or export the bundle again"
        finding = Finding(f"{backend} on {device}", what, mend)
    except Exception as error:  # a broken library must not end the look at the others
        reason = f"{type(error).__name__}: {_line(error)}"
        finding = Finding(f"{backend} on {device}", f"{name}: {reason}", _BUG)
    return Run(backend, device, name, reason is None, reason), finding


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
