"""TensorRT and TensorRT for RTX, on NVIDIA GPUs, from the engines in the bundle; without torch."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.engine import Engine
from dlkit.errors import BackendError, DlkitError
from dlkit.runtime.backends._network import TensorRtNetwork
from dlkit.runtime.cuda import Cuda, no_bindings
from dlkit.runtime.device import no_cuda
from dlkit.runtime.engines import find_engines
from dlkit.runtime.slot import Ticket
from dlkit.runtime.streams import Streams

DEVICES = ("cuda",)


def preference(bundle: Bundle) -> int:
    """Its place in ``auto``'s order."""
    return 5


def unavailable(bundle: Bundle, device: str) -> str | None:
    """Why TensorRT cannot run the bundle on the device; None when it should."""
    if device not in DEVICES:
        return f"tensorrt runs on cuda only, not on {device}"
    if reason := no_cuda() or no_bindings():
        return reason
    found = find_engines(bundle)
    if found.fitting:
        return None
    if not found.refused:
        return f"the bundle has no engine; build one: dlkit export {bundle.path} --trt"
    return "; ".join(f"{name}: {reason}" for name, reason in found.refused.items())


class TensorRtSession:
    """An engine on the GPU. Calls may come from any thread; ``close`` is for when none is inside.

    Attributes:
        engine: the engine that runs.
        sha256: hash of that engine's bytes.
        passed_over: reason by file name of engines that would have been better or just as good.
    """

    backend = "tensorrt"
    device = "cuda"
    concurrent = True  # while one thread waits, others may begin their batches

    def __init__(self, bundle: Bundle, engine: Engine, passed_over: dict[str, str]) -> None:
        self.engine = engine
        self.sha256 = engine.sha256
        self.passed_over = passed_over
        plan = engine.read()
        source, target = (np.dtype(spec.dtype) for spec in (bundle.spec.input, bundle.spec.output))
        device = Cuda()
        try:
            self._network = TensorRtNetwork(engine, plan, bundle.spec)
        except BaseException:
            device.close()
            raise
        streams = Streams(device, self._network, source, target)
        self._streams = streams
        # Also when the session is garbage, and before Python's end while the driver is still there.
        self._close = weakref.finalize(self, _close_quietly, streams, self._network)
        try:
            # An engine that cannot run must say so now, where another backend can still be chosen.
            self(np.zeros(self._network.profile.smallest, source))
        except BaseException:
            self._close()
            raise
        self._network.save_kernels()

    @property
    def graphs(self) -> str:
        """``recorded`` where batches are replayed as CUDA graphs, else why they are not."""
        return self._streams.refusal or "recorded"

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run a batch of any length; the returned array is new and the caller's.

        Raises:
            BackendError: a shape outside the engine's profile, or a failure of the GPU.
        """
        return self.submit(batch).result()

    def submit(self, batch: NDArray[Any]) -> Ticket:
        """Begin to run a batch; ``result()`` waits for it and gives an array that is the caller's.

        ``batch`` is copied before this returns. The next batch can be submitted before the result
        is taken: two are on their way at once, and a third waits.

        Raises:
            BackendError: a shape outside the engine's profile, or a failure of the GPU.
        """
        return self._streams.submit(batch)

    def close(self) -> None:
        """Free the GPU's memory and keep what was compiled; a second call does nothing."""
        self._close()


def _close_quietly(streams: Streams, network: TensorRtNetwork) -> None:
    with suppress(DlkitError):
        network.save_kernels()
    streams.close()


def open_session(bundle: Bundle, device: str, threads: int, callers: int = 1) -> TensorRtSession:
    """Load the first engine of the bundle that this machine runs.

    ``threads`` and ``callers`` do not matter: the GPU computes, and any thread may call.
    """
    found = find_engines(bundle)
    refused = dict(found.refused)
    for engine in found.fitting:
        try:
            return TensorRtSession(bundle, engine, refused)
        except DlkitError as error:
            refused[engine.path.name] = str(error)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    raise BackendError(reasons or unavailable(bundle, device) or "no engine")
