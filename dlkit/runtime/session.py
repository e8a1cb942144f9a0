"""The choice of a backend and device for a bundle, and the session that they give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dlkit.bundle import Bundle
from dlkit.errors import BackendError, UsageError
from dlkit.given import whole_of
from dlkit.plugins import Registry
from dlkit.processors import cpu_count
from dlkit.runtime.fixed_batch import FixedBatch
from dlkit.runtime.unavailable import Unavailable as Unavailable
from dlkit.runtime.unavailable import several
from dlkit.tasks import Session

DEVICES = ("auto", "cpu", "cuda")


class Backend(ABC):
    """A way to run bundles: a value, ``BACKEND``, of a file in ``backends/`` or of a plug-in.

    Attributes:
        name: as ``--backend`` takes it.
        devices: kinds of device that it has code for.
        arithmetic: the type that it computes in when that is not the graph's, one of
            ``PRECISIONS``. Its answers are then verified by the tolerance of that type, in a row
            of their own, and ``auto`` takes it only where the certificate has that row.
        any_batch: its sessions take any number of samples also of graphs with a fixed first axis.
            The others get a ``FixedBatch`` around them.
    """

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]]
    arithmetic: ClassVar[str | None] = None
    any_batch: ClassVar[bool] = False

    @abstractmethod
    def preference(self, bundle: Bundle) -> int:
        """Its place in the order in which ``auto`` tries backends, lowest first, as measured."""

    @abstractmethod
    def unavailable(self, bundle: Bundle, device: str) -> Unavailable | None:
        """Why it cannot run the bundle here; None when it should."""

    @abstractmethod
    def open(self, bundle: Bundle, device: str, threads: int, callers: int) -> Session:
        """Load the bundle for ``callers`` threads that share ``threads`` processors.

        Raises:
            BackendError: the backend refuses.
        """


BACKENDS: Registry[Backend] = Registry(
    "backend", "dlkit.runtime.backends", "dlkit.backends", Backend, "BACKEND"
)


def load_backend(name: str) -> Backend:
    """A backend by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name == "tensorrt_rtx":  # as the doctor and --flavor call it
        raise UsageError(
            f"'{name}' is a flavour of engines, not a backend",
            "Use --backend tensorrt, which runs engines of both flavours",
        )
    return BACKENDS.load(name)


@dataclass(frozen=True)
class Chosen:
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
) -> Chosen:
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
        raise UsageError(f"unknown device '{device}'", f"Use one of {', '.join(DEVICES)}")
    threads = cpu_count() if threads is None else whole_of(threads, "threads")
    callers = whole_of(callers, "callers")
    names = BACKENDS.names() if backend == "auto" else [backend]
    backends = {name: load_backend(name) for name in names}
    candidates = [
        (name, kind)
        for kind in (("cuda", "cpu") if device == "auto" else (device,))
        for name in sorted(names, key=lambda name: backends[name].preference(bundle))
        # what was named says itself why it does not run on a device that was named, too
        if kind in backends[name].devices or (len(names) == 1 and device != "auto")
    ]
    passed_over: dict[str, Unavailable] = {}
    for name, kind in candidates:
        reason = why_not(backends[name], bundle, kind)
        if reason is None:
            try:
                session = open_on(backends[name], bundle, kind, threads, callers)
                return Chosen(session, {name: str(why) for name, why in passed_over.items()})
            except BackendError as error:
                reason = Unavailable(error.what, error.mend)
        passed_over[f"{name} on {kind}"] = reason
    why = several(passed_over)
    raise BackendError(f"nothing here can run {bundle.path.name}: {why.what}", why.mend)


def runnable(bundle: Bundle) -> list[tuple[str, str]]:
    """Every (backend, device) that says it can run the bundle on this machine."""
    backends = {name: BACKENDS.load(name) for name in BACKENDS.names()}
    return [
        (name, device)
        for name, backend in backends.items()
        for device in DEVICES[1:]
        if device in backend.devices and why_not(backend, bundle, device) is None
    ]


def why_not(backend: Backend, bundle: Bundle, device: str) -> Unavailable | None:
    """Why a backend cannot run a bundle on a device here; None when it should."""
    for one in (*bundle.spec.inputs, *bundle.spec.outputs):
        if not _is_number(one.dtype):
            return Unavailable(
                f"{one} is no array of numbers or truth values that numpy has",
                "Put a Cast to float32 there, or leave that part (a tokenizer, sequences) out of "
                "the graph",
            )
    return backend.unavailable(bundle, device)


def open_on(backend: Backend, bundle: Bundle, device: str, threads: int, callers: int) -> Session:
    """A backend's session, which takes any number of samples where the graph lets it.

    Raises:
        BackendError: the backend refuses.
    """
    session = backend.open(bundle, device, threads, callers)
    size = None if backend.any_batch else bundle.spec.fixed_batch
    return session if size is None else FixedBatch(session, bundle.spec, size)


def _is_number(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "biufc"
    except TypeError:
        return False
