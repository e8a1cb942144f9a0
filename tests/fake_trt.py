"""A TensorRT whose objects have the attributes of one real version and no others.

It runs its engines on ``FakeGpu``. An engine's bytes are its profiles, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, IntFlag
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from dlkit.runtime.gpu.profile import Profile, Profiles

from .fake_gpu import Array, FakeContext, FakeGpu, FakeNetwork, inverted

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


PIXELS = (("pixels", "INPUT", "UINT8"), ("output", "OUTPUT", "UINT8"))
_NUMPY = {"UINT8": np.uint8, "FLOAT": np.float32, "INT64": np.int64, "BOOL": np.bool_}


def plan(
    profiles: Mapping[str, Profile], tensors: Sequence[Sequence[str]] = PIXELS, does: str = "invert"
) -> bytes:
    """An engine's bytes.

    Args:
        profiles: by the inputs' names.
        tensors: name, mode and type of each; inputs come first.
        does: what it computes, one of ``DOES``.
    """
    shapes = {name: [one.smallest, one.best, one.largest] for name, one in profiles.items()}
    return json.dumps({"shapes": shapes, "tensors": tensors, "does": does}).encode()


def weighted(x: Array, ids: Array, *by: Array) -> list[Array]:
    """Two inputs, and perhaps one without axes; two outputs of other types."""
    found = (x * by[0] if by else x) + ids[:, :1].astype(x.dtype)
    return [found, (found > 0).all(axis=1)]


DOES: dict[str, Callable[..., list[Array]]] = {
    "invert": inverted, "weigh": weighted, "squeeze": lambda x: [x.squeeze()],
}  # fmt: skip


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
        def __init__(self, network: FakeNetwork, names: list[str], config: Any) -> None:
            self._config = config
            self._fake = FakeContext(network, settled=False)
            self._names = names
            self._set: dict[str, tuple[int, ...]] = {}
            self._addresses: dict[str, int] = {}
            self._need = 0

        def set_input_shape(self, tensor: str, shape: tuple[int, ...]) -> bool:
            self._set[tensor] = shape
            return True

        def get_tensor_shape(self, tensor: str) -> tuple[int, ...]:
            """As soon as every input has its shape."""
            inputs = list(self._fake.network.profiles.inputs)
            self._outputs, self._need = self._fake.set_shapes([self._set[name] for name in inputs])
            return self._outputs[self._names.index(tensor) - len(inputs)]

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
            addresses = [self._addresses[name] for name in self._names]
            inputs = len(self._fake.network.profiles.inputs)
            self._fake.enqueue(addresses[:inputs], addresses[inputs:], stream)
            if self._config is not None and self._config._cache is not None:
                shape = json.dumps(self._fake.shapes[0]).encode()
                kernels = self._config._cache._kernels or b"kernels of this GPU:"
                self._config._cache._kernels = kernels + (b"" if shape in kernels else shape)
            return True

    class Engine:
        def __init__(self, blob: bytes) -> None:
            data = json.loads(blob)
            self._tensors = {tensor[0]: tensor[1:] for tensor in data["tensors"]}
            profiles = {
                name: Profile(*map(tuple, shapes)) for name, shapes in data["shapes"].items()
            }
            sources = [np.dtype(_NUMPY[self._tensors[name][1]]) for name in profiles]
            self._network = FakeNetwork(gpu, Profiles(profiles, False), DOES[data["does"]], sources)

        @property
        def num_io_tensors(self) -> int:
            return len(self._tensors)

        def get_tensor_name(self, index: int) -> str:
            return list(self._tensors)[index]

        def get_tensor_mode(self, tensor: str) -> Any:
            return trt.TensorIOMode[self._tensors[tensor][0]]

        def get_tensor_dtype(self, tensor: str) -> Any:
            return trt.DataType[self._tensors[tensor][1]]

        def get_tensor_shape(self, tensor: str) -> tuple[int, ...]:
            inputs = self._network.profiles.inputs
            small = [one.smallest for one in inputs.values()]
            large = [one.largest for one in inputs.values()]
            place = list(self._tensors).index(tensor)
            low, high = small + self._network.answered(small), large + self._network.answered(large)
            pairs = zip(low[place], high[place], strict=True)
            return tuple(least if least == most else -1 for least, most in pairs)

        def get_tensor_profile_shape(self, tensor: str, index: int) -> list[Any]:
            assert index == 0
            one = self._network.profiles.inputs[tensor]
            assert one.smallest != one.largest, "a fixed input has no range"
            return [np.array(shape) for shape in (one.smallest, one.best, one.largest)]

        def create_runtime_config(self) -> Any:
            return guarded("IRuntimeConfig", Config)()

        def create_execution_context(self, how: Any) -> Any:
            configured = isinstance(how, Config)
            strategy = how._strategy if configured else how
            assert strategy is trt.ExecutionContextAllocationStrategy.USER_MANAGED
            config = how if configured else None
            trt.contexts.append(config)
            return guarded("IExecutionContext", Context)(self._network, list(self._tensors), config)

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
