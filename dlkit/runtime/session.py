"""Session: one model on one backend and device; and the choice of the backend."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.errors import BackendError, UsageError
from dlkit.plugins import Plugins
from dlkit.runtime.processors import cpu_count

BACKENDS = Plugins("dlkit.runtime.backends", "backend")
DEVICES = ("auto", "cpu", "cuda")


class Session(Protocol):
    """A loaded model.

    It may have ``submit(batch)`` too, which begins to run a batch and gives something whose
    ``result()`` is the output, so that the next batch can be given before the last one is done.

    Attributes:
        backend: name of the backend, e.g. ``onnxruntime``.
        device: ``cpu`` or ``cuda``.
        sha256: hash of the file that it runs: model.onnx, or an engine.
        concurrent: whether calls may come from several threads at once.
    """

    backend: str
    device: str
    sha256: str
    concurrent: bool

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run one batch. dtype and shape as ``ModelSpec.input`` and ``.output``.

        The caller owns the returned array.
        """
        ...


class Backend(Protocol):
    """What a file in ``backends/`` provides, as module-level names."""

    DEVICES: tuple[str, ...]
    """Kinds of device that it has code for.

    It may have ``ARITHMETIC`` too, one of ``PRECISIONS``: the type that it computes in when that is
    not the graph's. Its answers are then verified by the tolerance of that type, in a row of their
    own, and ``auto`` must ask the certificate for it.
    """

    def preference(self, bundle: Bundle) -> int:
        """Its place in the order in which ``auto`` tries backends, lowest first, as measured."""
        ...

    def unavailable(self, bundle: Bundle, device: str) -> str | None:
        """Why it cannot run here, with the mend; None when it should."""
        ...

    def open_session(self, bundle: Bundle, device: str, threads: int, callers: int) -> Session:
        """Load the model for ``callers`` threads that share ``threads`` processors.

        Raises:
            BackendError: the backend refuses.
        """
        ...


def own_arithmetic(backend: str) -> str | None:
    """The type that a backend computes in whatever the graph says; None: the graph's."""
    return getattr(BACKENDS.load(backend), "ARITHMETIC", None)


@dataclass(frozen=True)
class Opened:
    """A session and how it was chosen.

    Attributes:
        passed_over: reason by name of each backend or device that ``auto`` would have preferred.
    """

    session: Session
    passed_over: dict[str, str]


def open_session(
    bundle: Bundle,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    callers: int = 1,
) -> Opened:
    """Load a bundle on a backend.

    Args:
        backend: a backend's name, or ``auto`` for the first that runs here.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where it works, else the CPU.
        threads: CPU threads of the backend; all that the process may use by default.
        callers: threads that will call the session at once, each with its share of ``threads``.

    Raises:
        UsageError: no such backend or device.
        BackendError: what was named cannot run here; nothing else is tried in its place.
    """
    if device not in DEVICES:
        raise UsageError(f"unknown device '{device}'. There are: {', '.join(DEVICES)}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}, expected 1 or more")
    names = BACKENDS.names() if backend == "auto" else [backend]
    modules: dict[str, Any] = {name: BACKENDS.load(name) for name in names}
    candidates = [
        (name, kind)
        for kind in (("cuda", "cpu") if device == "auto" else (device,))
        for name in sorted(names, key=lambda name: int(modules[name].preference(bundle)))
        if kind in modules[name].DEVICES or len(names) == 1
    ]
    passed_over: dict[str, str] = {}
    for name, kind in candidates:
        module: Backend = modules[name]
        reason = module.unavailable(bundle, kind)
        if reason is None:
            try:
                session = module.open_session(bundle, kind, threads or cpu_count(), callers)
                return Opened(session, passed_over)
            except BackendError as error:
                reason = str(error)
        passed_over[f"{name} on {kind}"] = reason
    reasons = "; ".join(f"{name}: {reason}" for name, reason in passed_over.items())
    raise BackendError(f"nothing here can run {bundle.path.name}: {reasons}")


def runnable(bundle: Bundle) -> list[tuple[str, str]]:
    """Every (backend, device) that says it can run the bundle on this machine."""
    modules: dict[str, ModuleType] = {name: BACKENDS.load(name) for name in BACKENDS.names()}
    return [
        (name, device)
        for name, module in modules.items()
        for device in DEVICES[1:]
        if module.unavailable(bundle, device) is None
    ]
