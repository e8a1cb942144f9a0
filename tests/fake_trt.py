"""A TensorRT whose objects have the attributes of one real version and no others.

It runs its engines on ``FakeGpu``. An engine's bytes are its profile, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum, IntFlag
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from dlkit.runtime.gpu.profile import Profile

from .fake_gpu import FakeContext, FakeGpu, FakeNetwork

Names = Mapping[str, Sequence[str]]


class Guarded:
    """Lets outsiders use only what the version at hand has; underscores are ours."""

    real = ""
    names: ClassVar[Names] = {}

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name not in ("real", "names"):
            allowed = type(self).names[type(self).real]
            if name not in allowed:
                raise AttributeError(f"{self.real} has no {name}")
        return super().__getattribute__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in type(self).names[type(self).real]:
            raise AttributeError(f"{self.real} has no {name}")
        super().__setattr__(name, value)


def plan(profile: Profile, output: Sequence[object] = ("output", "OUTPUT", "UINT8")) -> bytes:
    """An engine's bytes; ``output`` is its output's name, mode and type."""
    tensors = [["pixels", "INPUT", "UINT8"], list(output)]
    shapes = [profile.smallest, profile.best, profile.largest]
    return json.dumps({"shapes": shapes, "tensors": tensors}).encode()


def make_trt(name: str, version: str, names: Names, gpu: FakeGpu) -> Any:
    """A module in the likeness of ``name``, with the attributes that ``names`` lists by class."""

    def guarded(real: str, base: type) -> Any:
        return type(real, (base, Guarded), {"real": real, "names": names})

    trt = SimpleNamespace(__name__=name, __version__=version, gpu=gpu, caches=[], contexts=[])
    for kind in ("ExecutionContextAllocationStrategy", "TensorIOMode", "DataType"):
        setattr(trt, kind, Enum(kind, [member for member in names[kind] if member.isupper()]))
    if "EngineValidity" in names:
        trt.EngineValidity = Enum("EngineValidity", ["VALID", "SUBOPTIMAL", "INVALID"])
        trt.EngineInvalidityDiagnostics = IntFlag(
            "EngineInvalidityDiagnostics", ["VERSION_MISMATCH", "UNSUPPORTED_CC"]
        )
        strategies = ["LAZY", "EAGER", "NONE"]
        trt.DynamicShapesKernelSpecializationStrategy = Enum("Strategies", strategies)
        trt.validity = (trt.EngineValidity.VALID, 0)

    class Cache:
        def __init__(self) -> None:
            self._kernels = b""

        def deserialize(self, blob: bytes) -> bool:
            if not blob.startswith(b"kernels of this GPU"):
                return False
            self._kernels = blob
            return True

        def serialize(self) -> bytes:
            return self._kernels

    class Config:
        dynamic_shapes_kernel_specialization_strategy: Any = None

        def __init__(self) -> None:
            self._strategy: Any = None
            self._cache: Any = None

        def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
            self._strategy = strategy

        def create_runtime_cache(self) -> Any:
            trt.caches.append(guarded("IRuntimeCache", Cache)())
            return trt.caches[-1]

        def set_runtime_cache(self, cache: Any) -> bool:
            self._cache = cache
            return True

    class Context:
        def __init__(self, network: FakeNetwork, config: Any) -> None:
            self._config = config
            self._fake = FakeContext(network, settled=False)
            self._addresses: dict[str, int] = {}
            self._need = 0

        def set_input_shape(self, tensor: str, shape: tuple[int, ...]) -> bool:
            assert tensor == "pixels"
            _, self._need = self._fake.set_shape(shape)
            return True

        def get_tensor_shape(self, tensor: str) -> tuple[int, ...]:
            assert self._fake.shape is not None
            return self._fake.shape

        def update_device_memory_size_for_shapes(self) -> int:
            return self._need

        def set_device_memory(self, memory: int, size: int) -> None:
            self._fake.set_scratch(memory, size)

        @property
        def device_memory(self) -> int:
            return self._fake.scratch[0]

        @device_memory.setter
        def device_memory(self, address: int) -> None:
            self._fake.set_scratch(address, gpu.memory[address].nbytes)

        def set_tensor_address(self, tensor: str, memory: int) -> bool:
            self._addresses[tensor] = memory
            return True

        def is_stream_capturable(self, stream: int) -> bool:
            return stream in gpu.streams

        def execute_async_v3(self, stream: int) -> bool:
            self._fake.enqueue(self._addresses["pixels"], self._addresses["output"], stream)
            if self._config is not None and self._config._cache is not None:
                shape = json.dumps(self._fake.shape).encode()
                kernels = self._config._cache._kernels or b"kernels of this GPU:"
                self._config._cache._kernels = kernels + (b"" if shape in kernels else shape)
            return True

    class Engine:
        def __init__(self, blob: bytes) -> None:
            data = json.loads(blob)
            self._tensors = {tensor[0]: tensor[1:] for tensor in data["tensors"]}
            self._shapes = [tuple(shape) for shape in data["shapes"]]
            self._network = FakeNetwork(gpu, Profile(*self._shapes))

        @property
        def num_io_tensors(self) -> int:
            return len(self._tensors)

        def get_tensor_name(self, index: int) -> str:
            return list(self._tensors)[index]

        def get_tensor_mode(self, tensor: str) -> Any:
            return trt.TensorIOMode[self._tensors[tensor][0]]

        def get_tensor_dtype(self, tensor: str) -> Any:
            return trt.DataType[self._tensors[tensor][1]]

        def get_tensor_profile_shape(self, tensor: str, index: int) -> list[Any]:
            assert (tensor, index) == ("pixels", 0)
            return [np.array(shape) for shape in self._shapes]

        def create_runtime_config(self) -> Any:
            return guarded("IRuntimeConfig", Config)()

        def create_execution_context(self, how: Any) -> Any:
            configured = isinstance(how, Config)
            strategy = how._strategy if configured else how
            assert strategy is trt.ExecutionContextAllocationStrategy.USER_MANAGED
            config = how if configured else None
            trt.contexts.append(config)
            return guarded("IExecutionContext", Context)(self._network, config)

    class Runtime:
        engine_host_code_allowed = False

        def __init__(self, logger: Any) -> None:
            assert logger.last

        def get_engine_validity(self, blob: bytes) -> Any:
            return trt.validity

        def deserialize_cuda_engine(self, blob: bytes) -> Any:
            return guarded("ICudaEngine", Engine)(blob) if blob.startswith(b"{") else None

    trt.Runtime = guarded("Runtime", Runtime)
    return trt
