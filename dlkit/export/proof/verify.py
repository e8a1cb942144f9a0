"""Does a bundle still compute what its network computes? What is measured is its certificate."""

from __future__ import annotations

import datetime
import platform
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dlkit.bundle import Bundle, Certificate, Inputs, Measured, Reference
from dlkit.bundle.engine import Engine, engine_files
from dlkit.errors import BackendError, BundleError, VerifyError
from dlkit.export.lower import Say, silent
from dlkit.export.proof.compare import Expected, said
from dlkit.export.proof.inputs import Data, enough, held_out, unseen
from dlkit.export.proof.reference import Against, find_reference
from dlkit.export.proof.rounding import ROUNDED, run_rounded
from dlkit.graph.read import read_graph
from dlkit.processors import cpu_count, processor_name
from dlkit.runtime.advice import how_to_verify
from dlkit.runtime.gpu.driver import gpu_name
from dlkit.runtime.session import open_session, runnable
from dlkit.tasks import TASKS
from dlkit.versions import installed


def measure(
    bundle: Bundle,
    against: Against | None = None,
    data: Data | None = None,
    count: int | None = None,
    weights: Path | str | None = None,
    say: Say = silent,
    to_certify: bool = True,
) -> Certificate:
    """Compare every way to run the bundle here with an independent reference.

    Args:
        against, weights: as ``find_reference`` takes them.
        data, count: as ``held_out`` takes them.
        say: called with what is measured next.
        to_certify: refuse fewer inputs than a certificate needs; a comparison takes any number.

    Returns:
        What was measured, within tolerance or not; nothing is written.

    Raises:
        UsageError: what was named does not fit, or too few inputs.
        VerifyError: there is no reference, it gives NaN or nothing, or the same for all that is
            to certify; or the bundle was calibrated on these inputs.
        InputError: the data cannot be read.
        BackendError: no backend runs here.
    """
    task, own = TASKS.load(bundle.spec.task), bundle.spec.precision
    ways = runnable(bundle)
    if not ways:
        raise BackendError(f"nothing on this machine can run {bundle.path}")
    reference = find_reference(bundle, against, weights)
    say("reading held-out inputs")
    inputs = held_out(bundle, data, count)
    if to_certify:
        enough(task, inputs)
    unseen(bundle, inputs)
    say(reference.name)
    expected = Expected.of(task, inputs, reference.run(inputs.batches))
    if to_certify and not expected.varies:
        raise VerifyError(
            f"{reference.name} gives the same for every input of {inputs.name}: other weights "
            "might do so, too, and there is nothing to certify",
            "Name inputs on which its outputs differ with --data; or was it never trained?",
        )
    rows: list[Measured] = []
    refused: dict[str, BackendError] = {}
    for backend, device in ways:
        say(f"{backend} on {device}")
        try:
            session = open_session(bundle, backend, device).session
        except BackendError as error:  # it does not run there either
            refused[f"{backend} on {device}"] = error
            continue
        try:
            outputs = [session.run(feeds) for feeds in inputs.batches]
        except Exception as error:  # backends have exceptions of their own
            line = str(error).strip().partition("\n")[0]
            raise BackendError(f"{backend} on {device} cannot run {inputs.name}: {line}") from error
        finally:
            session.close()
        precision = session.arithmetic or own
        tolerance = task.tolerances[precision]
        rows.append(expected.beside(outputs, tolerance, backend, precision, device, session.sha256))
    if not rows:
        name, why = next(iter(refused.items()))
        raise BackendError(f"nothing here can run {bundle.path}: {name}: {why.what}", why.mend)
    if own in ROUNDED:
        say("rounded after each node")
        outputs = run_rounded(read_graph(bundle.onnx), inputs.batches)
        rows.append(
            expected.beside(outputs, task.tolerances[own], "rounded", own, sha256=bundle.sha256)
        )
    return Certificate(
        onnx_sha256=bundle.sha256,
        spec_sha256=bundle.spec_sha256,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        reference=Reference(reference.name, reference.sha256, expected.metrics, reference.named),
        inputs=Inputs(
            inputs.name, inputs.count, inputs.fingerprint(), inputs.random, dict(inputs.guess)
        ),
        tolerances={
            name: asdict(task.tolerances[name])
            for name in dict.fromkeys([own, *(row.precision for row in rows)])
        },
        measured=tuple(rows),
        refused={name: error.what for name, error in refused.items()},
        versions=installed(),
        hardware=_hardware(),
    )


def outside(bundle: Bundle, found: Certificate) -> list[Measured]:
    """What is out of tolerance and computes in the graph's own precision.

    A backend's other arithmetic has its row in the certificate too; outside the tolerance it is
    only not used by itself.
    """
    own = bundle.spec.precision
    return [row for row in found.measured if row.precision == own and not row.within]


def certify(bundle: Bundle, found: Certificate, replace: bool = False) -> Bundle:
    """Write what was measured into model.json; where something is out of tolerance, none stays,
    but for one against another reference than this, of which the bundle knows nothing.

    Args:
        replace: also a certificate that says more, see ``weaker``; it is kept by default.

    Raises:
        VerifyError: out of tolerance, on which backends; or the reference is no better than a
            guess: random weights agree with themselves, too.
    """
    if not (wrong := outside(bundle, found)):
        _worth_it(found)
        return bundle if weaker(bundle, found) and not replace else bundle.with_certificate(found)
    there = Bundle.open(bundle.path).certificate
    stranger = f"{found.reference.name} is not what {bundle.path} says that it was made of"
    if "module_sha256" in bundle.origin and not found.reference.named:
        stranger = f"{found.reference.name} has other weights than it was made of"
    if there is not None and _of_others(bundle, there, found):
        raise VerifyError(
            f"{bundle.path} is out of tolerance on {_backends(bundle, wrong)} against something "
            "else than before: the certificate that is there is kept",
            f"{stranger}: give that with --against, and its weights with --weights",
        )
    gone = "" if there is None else ", and the one that was there is taken out"
    bundle.with_certificate(None)
    mend = "Look for what is wrong in the fp32 bundle that it was made of: dlkit verify"
    if bundle.spec.precision == "fp32":
        mend = "Is it compared with what it was made of? Then export it anew"
    if bundle.spec.precision in ROUNDED:
        mend = f"Find the nodes that must stay fp32: {how_to_verify(bundle)} --bisect"
    if "module_sha256" in bundle.origin and not found.reference.named:
        mend = f"{stranger}: give that with --against, and its weights with --weights"
    raise VerifyError(
        f"{bundle.path} is out of tolerance on {_backends(bundle, wrong)}: no certificate{gone}",
        mend,
    )


def _of_others(bundle: Bundle, there: Certificate, found: Certificate) -> bool:
    """Whether a certificate of these files stands against another reference, which the bundle does
    not know: what it does not compute says nothing of it."""
    if found.reference.named or found.reference.sha256 == there.reference.sha256:
        return False
    return bool(there.rows(bundle.sha256)) and there.spec_sha256 == found.spec_sha256


def check_within(name: str, bundle: Bundle, found: Certificate) -> None:
    """Refuse what is out of tolerance, of something that is no bundle.

    Raises:
        VerifyError: on which backends.
    """
    if wrong := outside(bundle, found):
        raise VerifyError(f"{name} is out of tolerance on {_backends(bundle, wrong)}")


def _backends(bundle: Bundle, rows: list[Measured]) -> str:
    allowed = TASKS.load(bundle.spec.task).tolerances[bundle.spec.precision].channel
    worst = max(rows, key=lambda row: row.channel_error)
    off = said(worst, allowed)
    return ", ".join(row.backend for row in rows) + (f" ({off})" if off else "")


def weaker(bundle: Bundle, found: Certificate) -> str | None:
    """Why what was measured says less than the certificate that is there; None when it does not."""
    there = bundle.certificate
    if there is None or not there.rows(bundle.sha256) or there.spec_sha256 != found.spec_sha256:
        return None
    if found.inputs.random and not there.inputs.random:
        return f"random inputs instead of {there.inputs.count} of {there.inputs.name}"
    if there.inputs.random and not found.inputs.random:
        return None
    if found.inputs.count < there.inputs.count:
        return f"{found.inputs.count} inputs instead of {there.inputs.count}"
    tried = {(row.backend, row.sha256) for row in found.measured}
    lacking = [row.backend for one in _files(bundle) for row in there.rows(one)
               if (row.backend, one) not in tried]  # fmt: skip
    return f"nothing of {', '.join(dict.fromkeys(lacking))}" if lacking else None


def _files(bundle: Bundle) -> list[str]:
    """Hashes of what a backend may run of a bundle: its graph, and engines that are there."""
    found = [bundle.sha256]
    for path in engine_files(bundle):
        with suppress(BundleError):  # damaged, or of another graph
            found.append(Engine.open(path, bundle).sha256)
    return found


def _worth_it(found: Certificate) -> None:
    guess, reached = found.inputs.guess, found.reference.metrics
    if guess and all(reached[name] <= value for name, value in guess.items()):
        got = ", ".join(f"{name} {value:.3g}" for name, value in reached.items())
        needed = ", ".join(f"{name} {value:.3g}" for name, value in guess.items())
        raise VerifyError(
            f"{found.reference.name} has {got} on {found.inputs.name}, no more than a guess "
            f"({needed}): there is nothing to certify",
            "Were its weights trained, and on such data? Name other data with --data",
        )


def _hardware() -> dict[str, Any]:
    return {
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "processors": cpu_count(),
        "gpu": gpu_name(),
    }
