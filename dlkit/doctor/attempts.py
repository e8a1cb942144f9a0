"""What runs: every backend on every device, with a real session on each bundle."""

from __future__ import annotations

from collections.abc import Mapping

from dlkit.bundle import Bundle
from dlkit.doctor.examination import Attempt, Finding
from dlkit.errors import BackendError, DlkitError
from dlkit.processors import cpu_count
from dlkit.runtime.session import BACKENDS, DEVICES, Backend, open_on, why_not
from dlkit.tasks import TASKS

_BUG = "Report this line: it is a bug of dlkit or of the library"


def look(bundles: Mapping[str, Bundle], gpu: bool, findings: list[Finding]) -> list[Attempt]:
    """Open every bundle on every backend and device that says it can.

    A backend that says why it cannot is no problem; one that says it can and then refuses is. So
    is a bundle that nothing here can run, and a GPU that nothing can use.

    Args:
        gpu: this machine has one.
    """
    attempts: list[Attempt] = []
    ill = {finding.about for finding in findings if finding.problem}
    for name, bundle in bundles.items():
        try:
            TASKS.load(bundle.spec.task).check(bundle.spec)
        except DlkitError as error:
            findings.append(Finding(name, error.what, error.mend))
    for backend in BACKENDS.names():
        try:
            loaded = BACKENDS.load(backend)
        except Exception as error:  # whatever a broken file raises is what is reported
            findings.append(Finding(backend, f"its backend does not load: {_line(error)}", _BUG))
            continue
        for device in (kind for kind in DEVICES if kind in loaded.devices):
            for name, bundle in bundles.items():
                attempt, finding = _attempt(loaded, backend, device, name, bundle)
                attempts.append(attempt)
                if finding and backend not in ill and finding not in findings:
                    findings.append(finding)
    for name in bundles:
        running = {
            attempt.device for attempt in attempts if attempt.bundle == name and attempt.runs
        }
        if not running:
            mend = "See the table of what runs: it says why, and the mend for each backend"
            findings.append(Finding(name, "nothing on this machine can run it", mend))
        elif gpu and "cuda" not in running:
            findings.append(_idle_gpu(name, attempts))
    return attempts


def _attempt(
    loaded: Backend, backend: str, device: str, name: str, bundle: Bundle
) -> tuple[Attempt, Finding | None]:
    about = f"{backend} on {device}"
    try:
        why = why_not(loaded, bundle, device)
        if why is not None:
            return Attempt(backend, device, name, False, why.what, why.mend), None
        open_on(loaded, bundle, device, cpu_count(), 1).close()
    except BackendError as error:
        what = _line(error.what)
        mend = error.mend or "Use another backend, or export the bundle again"
        return Attempt(backend, device, name, False, what, mend), Finding(about, what, mend)
    except Exception as error:  # a broken library must not end the look at the others
        what = f"{type(error).__name__}: {_line(error)}"
        finding = Finding(about, f"{name}: {what}", _BUG)
        return Attempt(backend, device, name, False, what, _BUG), finding
    return Attempt(backend, device, name, True, None), None


def _idle_gpu(name: str, attempts: list[Attempt]) -> Finding:
    tried = [one for one in attempts if (one.bundle, one.device) == (name, "cuda")]
    reasons = "; ".join(f"{one.backend}: {one.reason}" for one in tried)
    mends = [f"{one.backend}: {one.mend}" for one in tried if one.mend]
    what = f"this machine has a GPU, and nothing runs it there: {reasons}"
    return Finding(name, what, "; or ".join(mends))


def _line(error: object) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
