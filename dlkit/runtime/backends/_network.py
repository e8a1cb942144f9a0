"""A TensorRT engine and its execution contexts, in both flavours.

Names that only some versions or one flavour have are looked up; the tests hold every other name
against recorded lists of TensorRT 10.0, 10.8 and 11.4 and against the installed TensorRT for RTX.
None of this has been run on a GPU yet.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any

from dlkit.atomic import write_bytes
from dlkit.bundle.engine import Engine
from dlkit.errors import BackendError
from dlkit.runtime.gpu.flavor import TYPES, logger
from dlkit.runtime.gpu.profile import Profile, Profiles, Shape
from dlkit.spec import ModelSpec
from dlkit.tasks import TASKS


class TensorRtNetwork:
    """A loaded engine; see ``dlkit.runtime.gpu.device.Network``. A CUDA context must be current.

    Attributes:
        profiles: shapes that it takes.
    """

    def __init__(self, engine: Engine, plan: bytes, spec: ModelSpec) -> None:
        self._path = engine.path
        trt = self._trt = importlib.import_module(engine.key.flavor)
        self._runtime: Any = trt.Runtime(logger(trt))
        if reason := why_invalid(trt, self._runtime, plan):
            again = f"Build it again: dlkit export {engine.path.parent.parent} --trt"
            if "UNSUPPORTED_CC" in reason:  # as H100 and H200 say
                again += (
                    ", with --compute where this GPU is 8.0, 8.6, 8.9, or 12.0 and above. TensorRT "
                    "for RTX runs on no other: install tensorrt, or use --backend onnxruntime"
                )
            raise BackendError(
                f"{trt.__name__} {trt.__version__} does not run {engine.path} here: {reason}", again
            )
        if "version_compatible" in engine.key.flags:
            # Such an engine brings its own runtime along. Its hash was checked.
            self._runtime.engine_host_code_allowed = True
        self._engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._error("cannot load the engine")
        self._inputs = [one.name for one in spec.inputs]
        self._outputs = [one.name for one in spec.outputs]
        self._check_tensors(spec)
        inputs = {name: self._profile(name) for name in self._inputs}
        rows = {tuple(self._engine.get_tensor_shape(name))[:1] for name in self._outputs}
        self.profiles = Profiles(inputs, _batched(spec, inputs, rows))
        self._kernels = Kernels(engine, self._engine)

    def create_context(self, settled: bool) -> TensorRtContext:
        """A new execution context, whose scratch memory is the caller's business.

        TensorRT for RTX compiles kernels for a shape at once when ``settled``, because a graph
        would keep the general ones for ever; else it does so in the background.
        """
        trt = self._trt
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._kernels.cache is None:
            context = self._engine.create_execution_context(strategy)
        else:
            settings = self._engine.create_runtime_config()
            settings.set_execution_context_allocation_strategy(strategy)
            settings.set_runtime_cache(self._kernels.cache)
            name = "dynamic_shapes_kernel_specialization_strategy"
            strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
            if strategies is not None and hasattr(settings, name):
                setattr(settings, name, getattr(strategies, "EAGER" if settled else "LAZY"))
            context = self._engine.create_execution_context(settings)
        if context is None:
            raise self._error("cannot make an execution context")
        return TensorRtContext(trt, context, self._inputs, self._outputs)

    def save_kernels(self) -> None:
        """Keep what TensorRT for RTX compiled on this machine beside the engine."""
        self._kernels.save()

    def close(self) -> None:
        """Let go of the engine, then of the runtime that it came from."""
        self._kernels.cache = None
        self._engine = None
        self._runtime = None

    def _profile(self, name: str) -> Profile:
        """The shapes that an input may have; a fixed one has no range in the engine."""
        fixed = tuple(map(int, self._engine.get_tensor_shape(name)))
        if min(fixed, default=0) >= 0:
            return Profile(fixed, fixed, fixed)
        smallest, best, largest = (
            tuple(map(int, shape)) for shape in self._engine.get_tensor_profile_shape(name, 0)
        )
        return Profile(smallest, best, largest)

    def _check_tensors(self, spec: ModelSpec) -> None:
        """The engine's tensors must be those that the bundle promises."""
        modes = self._trt.TensorIOMode
        wanted = {
            (one.name, mode.name, TYPES.get(one.dtype))
            for mode, tensors in ((modes.INPUT, spec.inputs), (modes.OUTPUT, spec.outputs))
            for one in tensors
        }
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        found = {
            (
                name,
                self._engine.get_tensor_mode(name).name,
                self._engine.get_tensor_dtype(name).name,
            )
            for name in names
        }
        if found != wanted:
            raise BackendError(
                f"{self._path} has the tensors {sorted(map(str, found))}, "
                f"model.json says {sorted(map(str, wanted))}",
                f"Build it again: dlkit export {self._path.parent.parent} --trt",
            )

    def _error(self, what: str) -> BackendError:
        return BackendError(f"{self._trt.__name__} {what}: {logger(self._trt).last}")


class TensorRtContext:
    """An execution context; see ``dlkit.runtime.gpu.device.Context``."""

    def __init__(
        self, trt: ModuleType, context: Any, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        self._trt, self._context = trt, context
        self._inputs, self._outputs = inputs, outputs

    def set_shapes(self, shapes: Sequence[Shape]) -> tuple[tuple[Shape, ...], int]:
        """Set the inputs' shapes; gives the outputs' and the scratch memory in bytes."""
        for name, shape in zip(self._inputs, shapes, strict=True):
            fine = self._context.set_input_shape(name, shape)
            self._check(fine, f"refuses {name} of the shape {shape}")
        outputs = tuple(
            tuple(map(int, self._context.get_tensor_shape(name))) for name in self._outputs
        )
        for name, shape in zip(self._outputs, outputs, strict=True):
            if min(shape, default=0) < 0:
                raise BackendError(
                    f"the size of the output {name} depends on the data; an engine's outputs must "
                    "have sizes that follow from those of the inputs",
                    "Use --backend onnxruntime",
                )
        return outputs, int(self._context.update_device_memory_size_for_shapes())

    def set_scratch(self, address: int, size: int) -> None:
        """Memory of the caller's for intermediate results."""
        if hasattr(self._context, "set_device_memory"):
            self._context.set_device_memory(address, size)
        else:  # TensorRT 10.0
            self._context.device_memory = address

    def enqueue(self, sources: Sequence[int], targets: Sequence[int], stream: int) -> None:
        """Begin to compute ``targets`` from ``sources``."""
        names = (*self._inputs, *self._outputs)
        for name, address in zip(names, (*sources, *targets), strict=True):
            self._check(
                self._context.set_tensor_address(name, address), f"refuses the memory of {name}"
            )
        self._check(self._context.execute_async_v3(stream), "cannot run the engine")

    def why_no_capture(self, stream: int) -> str | None:
        """TensorRT for RTX knows whether it can be recorded; with the other one has to try."""
        capturable = getattr(self._context, "is_stream_capturable", None)
        if capturable is None or capturable(stream):
            return None
        return f"{self._trt.__name__} says that this engine's work cannot be captured"

    def _check(self, fine: bool, what: str) -> None:
        if not fine:
            raise BackendError(f"{self._trt.__name__} {what}: {logger(self._trt).last}")


class Kernels:
    """What TensorRT for RTX compiled on this machine: loaded if it fits, saved if it grew.

    The file holds code that the GPU will run, so it counts only where the hash beside it says that
    it is whole and of this very engine; else it is as if there were none.

    Attributes:
        cache: the flavour's cache; None for ``tensorrt``, which compiles nothing when it runs.
    """

    def __init__(self, engine: Engine, loaded: Any) -> None:
        self._path, self._engine = engine.runtime_cache, engine.sha256
        self._hash = self._path.with_name(f"{self._path.name}.sha256")
        self._saved = b""
        self.cache: Any = None
        create: Any = getattr(loaded, "create_runtime_config", None)
        settings: Any = None if create is None else create()
        if not hasattr(settings, "create_runtime_cache"):
            return
        self.cache = settings.create_runtime_cache()
        try:
            data = self._path.read_bytes()
            if self._hash.read_bytes() != self._sha256(data):
                return
        except OSError:
            return
        # Of another GPU, driver or version: refused, and replaced when this session saves.
        if self.cache.deserialize(data):
            self._saved = data

    def save(self) -> None:
        """Write the cache whole, if there is anything new; a read-only bundle stays as it is."""
        if self.cache is None:
            return
        blob = self.cache.serialize()
        data = b"" if blob is None else bytes(blob)
        if not data or data == self._saved:
            return
        try:
            write_bytes(self._path, data)
            write_bytes(self._hash, self._sha256(data))
        except OSError:
            return
        self._saved = data

    def _sha256(self, data: bytes) -> bytes:
        return hashlib.sha256(self._engine.encode() + data).hexdigest().encode()


def _batched(
    spec: ModelSpec, inputs: Mapping[str, Profile], rows: Collection[tuple[int, ...]]
) -> bool:
    """Whether the first axes of all inputs and outputs count the same samples.

    Args:
        rows: size of each output's first axis in the engine, -1 where it is free: other than the
            samples where the graph takes away an axis of size 1.
    """
    firsts = {one.shape[0] if one.shape else None for one in spec.inputs}
    ranges = {(one.smallest[:1], one.best[:1], one.largest[:1]) for one in inputs.values()}
    if len(firsts) != 1 or firsts == {None} or len(ranges) != 1:
        return False
    ((low,), _, (high,)) = next(iter(ranges))
    if not all(axis and (axis[0] == -1 or low == high == axis[0]) for axis in rows):
        return False
    if len(spec.outputs) == 1 and TASKS.load(spec.task).model.stacks:
        return True  # a row a sample, whatever the axis is called
    return all(one.shape and one.shape[0] in firsts for one in spec.outputs)


def why_invalid(trt: ModuleType, runtime: Any, plan: bytes) -> str | None:
    """What TensorRT for RTX says against an engine, by name; None when it would run it.

    ``tensorrt`` has no such question, so for it the answer is None.
    """
    ask: Any = getattr(runtime, "get_engine_validity", None)
    if ask is None:
        return None
    validity, diagnostics = ask(plan)
    if validity.name != "INVALID":
        return None
    return ", ".join(diagnostic_names(trt, diagnostics)) or f"INVALID: {logger(trt).last}"


def diagnostic_names(trt: ModuleType, diagnostics: Any) -> list[str]:
    """Names of the reasons in what ``get_engine_validity`` gives: a number whose bits they are."""
    reasons = getattr(trt, "EngineInvalidityDiagnostics", None)
    members = getattr(reasons, "__members__", {})
    return [name for name, member in members.items() if int(diagnostics) & int(member)]
