"""Memory, streams and graphs of one NVIDIA GPU: the only file that calls CUDA.

It uses the driver API of NVIDIA's ``cuda-bindings``, not ``cuda-core``: torch brings
``cuda-bindings`` along, so a machine with torch needs nothing more; its functions are those of
cuda.h, which do not change between versions; and the driver API asks for no CUDA runtime of a
matching version. The GPU's primary context is used, which TensorRT and torch use too.
"""

from __future__ import annotations

import ctypes
import importlib.util
from typing import Any

import numpy as np

from dlkit.errors import BackendError
from dlkit.runtime.gpu.device import Bytes
from dlkit.runtime.unavailable import Unavailable


def no_bindings() -> Unavailable | None:
    """Why NVIDIA's bindings cannot be used here; None when they can."""
    try:
        if importlib.util.find_spec("cuda.bindings.driver") is not None:
            return None
    except ModuleNotFoundError:
        pass
    return Unavailable("cuda-bindings is not installed", "Run: pip install 'cuda-bindings>=13'")


class Cuda:
    """One GPU. Addresses and streams are plain integers, which TensorRT takes as they are.

    Whoever allocates frees; nothing is freed by the garbage collector.

    Raises:
        BackendError: from every method, with the name of the CUDA call that failed.
    """

    def __init__(self, index: int = 0) -> None:
        if reason := no_bindings():
            raise BackendError(reason.what, reason.mend)
        from cuda.bindings import driver

        self._driver: Any = driver
        self._pinned: dict[int, Bytes] = {}
        try:
            self._call("cuInit", 0)
        except RuntimeError as error:  # the bindings do not find the driver's library
            raise BackendError(
                f"the NVIDIA driver does not load: {error}", "See nvidia-smi"
            ) from error
        self._device = self._call("cuDeviceGet", index)
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)
        self.make_current()

    def make_current(self) -> None:
        """Bind the GPU to the calling thread; each thread needs it before anything else."""
        self._call("cuCtxSetCurrent", self._context)

    def create_stream(self) -> int:
        """A stream that does not wait for the default stream."""
        flags = self._driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        return int(self._call("cuStreamCreate", int(flags)))

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""
        self._call("cuStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        """Wait until the stream has done all its work."""
        self._call("cuStreamSynchronize", stream)

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes of device memory, aligned to 256 at least."""
        return int(self._call("cuMemAlloc", size))

    def free(self, address: int) -> None:
        """Give device memory back."""
        self._call("cuMemFree", address)

    def allocate_pinned(self, size: int) -> Bytes:
        """``size`` bytes of page-locked host memory; a copy to or from it runs by itself.

        The array is a view: it must not be touched after ``free_pinned``.
        """
        address = int(self._call("cuMemHostAlloc", size, 0))
        view = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        self._pinned[address] = view
        return view

    def free_pinned(self, memory: Bytes) -> None:
        """Give page-locked memory back."""
        address = int(memory.ctypes.data)
        del self._pinned[address]
        self._call("cuMemFreeHost", address)

    def upload(self, stream: int, target: int, source: Bytes) -> None:
        """Begin to copy page-locked bytes to the device; they must stay until ``synchronize``."""
        self._call("cuMemcpyHtoDAsync", target, int(source.ctypes.data), source.nbytes, stream)

    def download(self, stream: int, target: Bytes, source: int) -> None:
        """Begin to copy device memory to page-locked bytes; whole after ``synchronize``."""
        self._call("cuMemcpyDtoHAsync", int(target.ctypes.data), source, target.nbytes, stream)

    def begin_capture(self, stream: int) -> None:
        """Record the stream's work from here on instead of doing it.

        Other threads, torch's for one, may go on calling CUDA meanwhile.
        """
        mode = self._driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._call("cuStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> Any:
        """The recorded work, ready to launch. The stream is usable again even when this raises."""
        recorded = self._call("cuStreamEndCapture", stream)
        try:
            return self._call("cuGraphInstantiate", recorded, 0)
        finally:
            self._call("cuGraphDestroy", recorded)

    def launch(self, stream: int, graph: Any) -> None:
        """Begin recorded work."""
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Give recorded work back."""
        self._call("cuGraphExecDestroy", graph)

    def close(self) -> None:
        """Let go of the GPU; a second call does nothing."""
        if self._context is not None:
            self._context = None
            self._call("cuDevicePrimaryCtxRelease", self._device)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the driver; gives what it returns beside its status."""
        status, *values = getattr(self._driver, name)(*arguments)
        if int(status) != 0:
            mend = "Use a smaller --batch" if "OUT_OF_MEMORY" in status.name else ""
            raise BackendError(f"{name} failed on the GPU with {status.name}", mend)
        return values[0] if values else None
