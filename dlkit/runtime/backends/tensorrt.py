"""TensorRT and TensorRT for RTX, on NVIDIA GPUs, from the engines in the bundle; without torch."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlkit.bundle import Bundle
from dlkit.bundle.engine import Engine
from dlkit.errors import BackendError, DlkitError
from dlkit.runtime.backends._network import TensorRtNetwork
from dlkit.runtime.gpu.cuda import Cuda, no_bindings
from dlkit.runtime.gpu.driver import no_cuda
from dlkit.runtime.gpu.engines import find_engines
from dlkit.runtime.gpu.flavor import TYPES
from dlkit.runtime.gpu.slot import Ticket
from dlkit.runtime.gpu.streams import Streams
from dlkit.runtime.session import Backend, Unavailable
from dlkit.runtime.unavailable import several
from dlkit.tasks import Feeds, Session


class TensorRtBackend(Backend):
    """TensorRT, in both flavours."""

    name = "tensorrt"
    devices = ("cuda",)
    any_batch = True

    def preference(self, bundle: Bundle) -> int:
        """Its place in ``auto``'s order."""
        return 5

    def unavailable(self, bundle: Bundle, device: str) -> Unavailable | None:
        """Why TensorRT cannot run the bundle on the device; None when it should."""
        if device not in self.devices:
            mend = "Use another --backend" if no_cuda() else "Use --device cuda"
            return Unavailable(f"tensorrt runs on cuda only, not on {device}", mend)
        if reason := no_cuda():  # whose own mend, another device, is none here
            return Unavailable(reason.what, "See dlkit doctor, or use another --backend")
        if reason := no_bindings():
            return reason
        for one in (*bundle.spec.inputs, *bundle.spec.outputs):
            if one.dtype not in TYPES:
                what = f"tensorrt has no {one.dtype}: {one}"
                return Unavailable(what, "Use --backend onnxruntime")
        found = find_engines(bundle)
        if found.fitting:
            return None
        if not found.refused:
            mend = f"Build one: dlkit export {bundle.path} --trt"
            return Unavailable("the bundle has no engine", mend)
        return several(found.refused)

    def open(self, bundle: Bundle, device: str, threads: int, callers: int) -> TensorRtSession:
        """The first engine that fits this machine and can be used.

        Raises:
            BackendError: none can; says of each why.
        """
        found = find_engines(bundle)
        passed_over = dict(found.refused)
        for engine in found.fitting:
            try:
                return TensorRtSession(bundle, engine, passed_over)
            except DlkitError as error:
                passed_over[engine.path.name] = Unavailable(error.what, error.mend)
        why = several(passed_over)
        raise BackendError(f"no engine of {bundle.path} can be used: {why.what}", why.mend)


class TensorRtSession(Session):
    """An engine on the GPU. Calls may come from any thread; ``close`` is for when none is inside.

    Attributes:
        engine: the engine that runs.
        sha256: hash of that engine's bytes.
        passed_over: reason by file name of engines that would have been better or just as good.
    """

    backend = "tensorrt"
    device = "cuda"

    def __init__(self, bundle: Bundle, engine: Engine, passed_over: dict[str, Unavailable]) -> None:
        self.engine = engine
        self.sha256 = engine.sha256
        self.passed_over = passed_over
        self._inputs = [one.name for one in bundle.spec.inputs]
        self._outputs = [one.name for one in bundle.spec.outputs]
        plan = engine.read()
        sources = [np.dtype(one.dtype) for one in bundle.spec.inputs]
        targets = [np.dtype(one.dtype) for one in bundle.spec.outputs]
        device = Cuda()
        try:
            self._network = TensorRtNetwork(engine, plan, bundle.spec)
        except BaseException:
            device.close()
            raise
        streams = Streams(device, self._network, sources, targets)
        self._streams = streams
        # Also when the session is garbage, and before Python's end while the driver is still there.
        self._close = weakref.finalize(self, _close_quietly, streams, self._network)
        try:
            # An engine that cannot run must say so now, where another backend can still be chosen.
            profiles = self._network.profiles.inputs.values()
            smallest = [
                np.zeros(profile.smallest, dtype)
                for profile, dtype in zip(profiles, sources, strict=True)
            ]
            streams.submit(smallest).results()
        except BaseException:
            self._close()
            raise
        self._network.save_kernels()

    @property
    def graphs(self) -> str:
        """``recorded`` where batches are replayed as CUDA graphs, else why they are not."""
        return self._streams.refusal or "recorded"

    def __call__(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Run a batch of any length, of a graph with one input and one output; the returned array
        is new and the caller's.

        Raises:
            BackendError: a shape outside the engine's profile, or a failure of the GPU.
        """
        return self.submit(batch).result()

    def run(self, feeds: Feeds) -> dict[str, NDArray[Any]]:
        """Run a call; any number of samples where the graph's first axes count them.

        Raises:
            BackendError: a shape outside the engine's profile, or a failure of the GPU.
        """
        ticket = self._streams.submit([feeds[name] for name in self._inputs])
        return dict(zip(self._outputs, ticket.results(), strict=True))

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


BACKEND = TensorRtBackend()
