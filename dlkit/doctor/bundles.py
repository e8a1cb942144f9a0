"""The bundles: their files and hashes, whether they were verified, and their engines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine, engine_files
from dlkit.doctor.examination import BundleState, EngineState, Finding
from dlkit.errors import DlkitError
from dlkit.runtime.gpu.driver import Gpu
from dlkit.runtime.gpu.engines import find_engines


def open_all(names: Iterable[str], findings: list[Finding]) -> dict[str, Bundle]:
    """The bundles that open, by the name they were asked for; the others are problems."""
    opened: dict[str, Bundle] = {}
    for name in names:
        try:
            opened[name] = Bundle.open(name)
        except DlkitError as error:
            findings.append(Finding(name, error.what, error.mend))
        except OSError as error:
            findings.append(Finding(name, f"it cannot be read: {error}", "Look at its rights"))
    return opened


def look(name: str, bundle: Bundle, gpus: Sequence[Gpu], findings: list[Finding]) -> BundleState:
    """One bundle's state."""
    return BundleState(
        name=name,
        path=str(bundle.path),
        task=bundle.spec.task,
        precision=bundle.spec.precision,
        verified=bundle.uncertified(bundle.sha256) is None,
        engines=_engines(name, bundle, bool(gpus), findings),
    )


def _engines(name: str, bundle: Bundle, gpu: bool, findings: list[Finding]) -> list[EngineState]:
    """Each engine: whole, of this graph, and fit for this machine.

    One that does not fit is a problem where there is a GPU and no other engine fits, else a note:
    a bundle may carry engines for several machines. Without a GPU none runs, which is said once.
    """
    states: list[EngineState] = []
    misfits: list[Finding] = []
    refused = find_engines(bundle).refused
    for path in engine_files(bundle):
        about = f"{name}/{path.relative_to(bundle.path)}"
        why = refused.get(path.name)
        try:
            Engine.open(path, bundle).read()
        except DlkitError as error:
            findings.append(Finding(about, error.what, error.mend))
            states.append(EngineState(path.name, False, error.what))
            continue
        except OSError as error:
            what = f"it cannot be read: {error}"
            findings.append(Finding(about, what, "Look at its rights"))
            states.append(EngineState(path.name, False, what))
            continue
        if why and gpu:
            misfits.append(Finding(about, why.what, why.mend))
        states.append(EngineState(path.name, why is None, why.what if why else None))
    bad = not any(state.fits for state in states)
    findings += [replace(misfit, problem=bad) for misfit in misfits]
    return states
