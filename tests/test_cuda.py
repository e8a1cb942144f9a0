"""The calls of CUDA, against the installed cuda-bindings; test_gpu.py runs them on a GPU."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dlkit.errors import BackendError
from dlkit.runtime.gpu import cuda as dlkit_cuda
from dlkit.runtime.gpu.cuda import Cuda


def driver_calls() -> list[tuple[str, int]]:
    """Each function of the driver that cuda.py calls, and with how many arguments."""
    tree = ast.parse(inspect.getsource(dlkit_cuda))
    return sorted(
        (node.args[0].value, len(node.args) - 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "_call"
        and isinstance(node.args[0], ast.Constant)
    )


@pytest.mark.parametrize(("name", "count"), driver_calls())
def test_the_driver_has_each_call_with_so_many_arguments(name: str, count: int) -> None:
    driver = importlib.import_module("cuda.bindings.driver")
    signature = getattr(driver, name).__doc__.partition("\n")[0]
    inside = signature.partition("(")[2].rpartition(")")[0]
    assert signature.startswith(name + "(")
    assert len(inside.split(",")) == count


class FakeDriver:
    """The driver's functions: each gives a status and a number that was not given before."""

    def __init__(self) -> None:
        real = importlib.import_module("cuda.bindings.driver")
        self.CUstream_flags = real.CUstream_flags
        self.CUstreamCaptureMode = real.CUstreamCaptureMode
        self.result = real.CUresult
        self.calls: list[tuple[Any, ...]] = []
        self.fails: dict[str, Any] = {}
        self.host = np.zeros(64, np.uint8)

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, *arguments))
            if name in self.fails:
                return (self.fails.pop(name), None)
            address = self.host.ctypes.data if name == "cuMemHostAlloc" else len(self.calls)
            return (self.result.CUDA_SUCCESS, address)

        return call


def test_cuda_passes_addresses_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    import cuda.bindings

    driver = FakeDriver()
    monkeypatch.setattr(cuda.bindings, "driver", driver)
    gpu = Cuda()
    stream, memory, pinned = gpu.create_stream(), gpu.allocate(64), gpu.allocate_pinned(64)
    pinned[:] = 7
    assert (driver.host == 7).all()
    gpu.upload(stream, memory, pinned[:16])
    assert driver.calls[-1] == ("cuMemcpyHtoDAsync", memory, driver.host.ctypes.data, 16, stream)
    gpu.download(stream, pinned[8:], memory)
    at = driver.host.ctypes.data + 8
    assert driver.calls[-1] == ("cuMemcpyDtoHAsync", at, memory, 56, stream)
    gpu.begin_capture(stream)
    graph = gpu.end_capture(stream)
    assert driver.calls[-1][0] == "cuGraphDestroy"
    gpu.launch(stream, graph)
    assert driver.calls[-1] == ("cuGraphLaunch", graph, stream)
    driver.fails["cuMemAlloc"] = driver.result.CUDA_ERROR_OUT_OF_MEMORY
    with pytest.raises(BackendError, match=r"cuMemAlloc failed.*OUT_OF_MEMORY.*smaller --batch"):
        gpu.allocate(1 << 60)
    driver.fails["cuStreamSynchronize"] = driver.result.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(BackendError, match=r"cuStreamSynchronize failed.*ILLEGAL_ADDRESS"):
        gpu.synchronize(stream)
    gpu.destroy_graph(graph)
    gpu.free_pinned(pinned)
    gpu.free(memory)
    gpu.destroy_stream(stream)
    gpu.close()
    gpu.close()
    assert [call[0] for call in driver.calls].count("cuDevicePrimaryCtxRelease") == 1


def test_without_a_driver_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import cuda.bindings

    def init(flags: int) -> None:
        raise RuntimeError("libcuda.so.1 cannot be opened")  # as the bindings do

    monkeypatch.setattr(cuda.bindings, "driver", SimpleNamespace(cuInit=init))
    with pytest.raises(BackendError, match=r"driver does not load: libcuda.*nvidia-smi"):
        Cuda()
