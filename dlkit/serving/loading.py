"""From a bundle's name to a session, and how its rows are joined."""

from __future__ import annotations

from dataclasses import dataclass

from dlkit.bundle import Bundle
from dlkit.errors import BundleError
from dlkit.runtime.advice import how_to_verify
from dlkit.runtime.model import task_of
from dlkit.runtime.session import open_session
from dlkit.serving.calls import Limits
from dlkit.serving.datatypes import datatype_of
from dlkit.serving.independent import rows_are_independent
from dlkit.tasks import Session, Task

CERTIFIED = "certified"
_JOINED = 32  # rows of models whose task does not say how many, once they are known to be apart
_QUEUED = 64  # batches that may wait, where nobody says otherwise
_LEAST_QUEUE = 256


@dataclass(frozen=True)
class Wanted:
    """What is asked for when a bundle is served; None: what suits it.

    Attributes:
        bundle: a folder, or a shipped one's name.
        backend, device: as ``dlkit.load`` has them.
        delay: seconds.
    """

    bundle: str
    backend: str = "auto"
    device: str = "auto"
    batch: int | None = None
    delay: float | None = None
    queue: int | None = None
    workers: int | None = None
    threads: int | None = None
    require_certificate: bool = False
    accept_random: bool = False


@dataclass
class Loaded:
    """A bundle and its session, before anything is asked of it; made in any thread."""

    bundle: Bundle
    task: Task
    session: Session
    passed_over: dict[str, str]
    limits: Limits
    joins: bool
    verdict: str
    wanted: Wanted

    def beside(self, bundle: Bundle) -> Session:
        """A session of another bundle, opened as this one was."""
        wanted = self.wanted
        opened = open_session(
            bundle, wanted.backend, wanted.device, wanted.threads, wanted.workers or 1
        )
        return opened.session


def load(wanted: Wanted) -> Loaded:
    """Open a bundle and its session.

    Raises:
        DlkitError: what cannot be served, and why.
    """
    bundle = Bundle.open(wanted.bundle)
    task = task_of(bundle)
    task.check(bundle.spec)
    for one in (*bundle.spec.inputs, *bundle.spec.outputs):
        datatype_of(one.dtype)
    workers = wanted.workers or 1
    chosen = open_session(bundle, wanted.backend, wanted.device, wanted.threads, workers)
    session = chosen.session
    verdict = _verdict(bundle, session, wanted.accept_random)
    if wanted.require_certificate and verdict != CERTIFIED:
        session.close()
        raise BundleError(
            f"{bundle.path} cannot be served with --require-certificate: {verdict}",
            f"Measure it: {how_to_verify(bundle)}",
        )
    joins = task.model.stacks or rows_are_independent(bundle.spec, session)
    default = task.batch["cuda" if session.device == "cuda" else "cpu"]
    batch = wanted.batch or (default if task.model.stacks else _JOINED)
    limits = Limits(
        batch=batch if joins else 1,
        delay=wanted.delay or 0.0,
        queue=wanted.queue or max(_LEAST_QUEUE, _QUEUED * batch),
        workers=workers,
    )
    return Loaded(bundle, task, session, chosen.passed_over, limits, joins, verdict, wanted)


def _verdict(bundle: Bundle, session: Session, accept_random: bool) -> str:
    """``certified``, or why it is not, without its path."""
    other = session.backend if session.arithmetic else None
    found = bundle.certificate
    if found is None:
        return "no certificate"
    if bundle.uncertified(session.sha256, other) is not None:
        return "certified for another file or backend"
    return "certified on random inputs" if found.inputs.random and not accept_random else CERTIFIED
