"""A bundle into a TensorRT engine, with ``tensorrt`` or ``tensorrt_rtx``.

Networks are strongly typed: the graph's types are the engine's types. TensorRT 11 knows nothing
else, and the old FP16 flag would be ignored in silence. Names that only some versions have are
looked up, never written as literal bits.
"""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import filelock

from dlkit.atomic import PART, write_bytes
from dlkit.bundle import Bundle
from dlkit.engine import Engine, EngineKey
from dlkit.errors import BundleError, ExportError, UsageError
from dlkit.export.build_thread import Progress, run_build
from dlkit.export.proof import Proof, inspected_types, prove
from dlkit.runtime.device import compute_capability, no_cuda
from dlkit.runtime.flavor import load_flavor, logger
from dlkit.spec import PRECISIONS

Size = tuple[int, int]

_REASON = 300  # characters of TensorRT's error, which may name every layer

# Digits are small: many share one launch. A scan fills a GPU by itself.
_BATCH = {"recognize": (1, 64, 512), "denoise": (1, 4, 16)}


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is built for.

    Attributes:
        batch: smallest, best and largest number of images; by the task when None.
        size: smallest, best and largest height and width, where the graph leaves them free; rounded
            up to what the network takes.
        flavor: ``tensorrt`` or ``tensorrt_rtx``; None takes the first that is installed.
        compute: compute capabilities to build for, e.g. ``("8.6", "8.9")``; TensorRT for RTX only.
            Empty: its default set (8.0, 8.6, 8.9, 12.0 and later), or this machine's GPU.
        hardware_compatible: ``tensorrt`` only: run on every GPU from Ampere on, a little slower.
        version_compatible: ``tensorrt`` only: run with later versions of the same major version.
        rebuild: build even if the same engine is there.
        share: least share of the multiply-adds in the precision asked for, 0 to 1; by the
            precision when None.
    """

    batch: tuple[int, int, int] | None = None
    size: tuple[Size, Size, Size] = ((64, 64), (688, 384), (1376, 768))
    flavor: str | None = None
    compute: tuple[str, ...] = ()
    hardware_compatible: bool = False
    version_compatible: bool = False
    rebuild: bool = False
    share: float | None = None


def build_engine(
    bundle: Bundle,
    options: BuildOptions | None = None,
    precision: str | None = None,
    progress: Progress | None = None,
) -> tuple[Engine, bool]:
    """Build an engine into the bundle's ``engines/``, or find it there.

    Args:
        precision: that the engine must have; the bundle's own by default.
        progress: called with the phase and the share that is done, 0 to 1, from another thread.

    Returns:
        The engine, and whether it was built now (False: the same one was there).

    Raises:
        BackendError: no such TensorRT here.
        UsageError: options that cannot be.
        ExportError: TensorRT refuses the graph, or its arithmetic is not in ``precision``.
        KeyboardInterrupt: Ctrl-C; nothing is left behind.
    """
    options = options or BuildOptions()
    precision = precision or bundle.spec.precision
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'. There are: {', '.join(PRECISIONS)}")
    trt = load_flavor(options.flavor)
    key = engine_key(trt, bundle, options, precision)
    bundle.engines.mkdir(exist_ok=True)
    # Two builds of one engine: the second waits, then finds it.
    with filelock.FileLock(bundle.engines / f".{Path(key.file_name()).stem}.lock"):
        path = bundle.engines / key.file_name()
        if path.is_file() and not options.rebuild:
            try:
                engine = Engine.open(path, bundle)
                engine.read()
                return engine, False
            except BundleError:
                pass  # half of an older build, or damaged: build it again
        for part in bundle.engines.glob(f".{path.stem}*{PART}"):
            part.unlink()  # of a build that was killed
        begun = time.monotonic()
        proof = _prove(trt, bundle, key, options.share)
        plan = _build(trt, bundle, key, progress)
        proof = replace(proof, engine=_inspect(trt, plan))
        built = {
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begun, 2),
            "machine": f"{platform.system()} {platform.machine()}",
        }
        return Engine.create(bundle, key, plan, proof.to_json(), built), True


def engine_key(trt: ModuleType, bundle: Bundle, options: BuildOptions, precision: str) -> EngineKey:
    """Everything that makes this engine another one.

    Raises:
        UsageError: options that cannot be, or that the flavour does not have.
    """
    rtx = trt.__name__ == "tensorrt_rtx"
    flags = []
    for name in ("hardware_compatible", "version_compatible"):
        if getattr(options, name):
            if rtx:
                raise UsageError(
                    f"{name} is an option of tensorrt; engines of tensorrt_rtx run on several "
                    "kinds of GPU by themselves, and --compute names them"
                )
            flags.append(name)
    if options.compute and not rtx:
        raise UsageError("tensorrt builds for the GPU of this machine: leave --compute out")
    known = getattr(trt, "ComputeCapability", None)
    for compute in options.compute:
        if not hasattr(known, _member(compute)):
            there = ", ".join(
                f"{name[2:-1]}.{name[-1]}" for name in dir(known) if name.startswith("SM")
            )
            raise UsageError(f"{trt.__name__} cannot build for {compute}. There are: {there}")
    if precision == "fp32":
        flags.append("no_tf32")  # TensorFloat-32 has 10 bits of mantissa: not what was asked for
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # TensorRT for RTX demands it of engines that are recorded into CUDA graphs.
        flags.append("require_user_allocation")
    this_gpu = compute_capability()
    target = options.compute if rtx or this_gpu is None else (this_gpu,)
    return EngineKey(
        onnx_sha256=bundle.sha256,
        flavor=trt.__name__,
        version=trt.__version__,
        precision=precision,
        compute=tuple(sorted(set(target))),
        shapes=_shapes(bundle, options),
        flags=tuple(sorted(flags)),
    )


def _prove(trt: ModuleType, bundle: Bundle, key: EngineKey, share: float | None) -> Proof:
    network, _builder = _parse(trt, bundle)
    network.get_input(0).shape = key.shapes[1]
    kept = bundle.origin.get("kept_fp32", ())
    return prove(trt, network, key.precision, share, kept)


def _parse(trt: ModuleType, bundle: Bundle) -> tuple[Any, Any]:
    """The network and the builder that must outlive it."""
    builder = trt.Builder(logger(trt))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger(trt))
    if not parser.parse(bundle.onnx.read_bytes()):
        errors = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise ExportError(f"{trt.__name__} cannot parse {bundle.onnx}: {errors}")
    if network.num_inputs != 1:
        raise ExportError(f"{bundle.onnx} has {network.num_inputs} inputs, expected 1")
    return network, builder


def _build(trt: ModuleType, bundle: Bundle, key: EngineKey, progress: Progress | None) -> bytes:
    network, builder = _parse(trt, bundle)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    try:
        profile.set_shape(network.get_input(0).name, *key.shapes)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"{trt.__name__} refuses the profile {key.shapes}: {error}") from error
    config.add_optimization_profile(profile)
    # The inspector and trtexec can then tell the type of every layer.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    for name in ("require_user_allocation", "version_compatible"):
        if name in key.flags:
            config.set_flag(getattr(trt.BuilderFlag, name.upper()))
    if "no_tf32" in key.flags:
        config.clear_flag(trt.BuilderFlag.TF32)
    if "hardware_compatible" in key.flags:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if key.flavor == "tensorrt_rtx" and key.compute:
        config.num_compute_capabilities = len(key.compute)
        for index, compute in enumerate(key.compute):
            member = getattr(trt.ComputeCapability, _member(compute))
            config.set_compute_capability(member, index)
    save_timings = _use_timing_cache(trt, config, key)
    plan = run_build(trt, builder, network, config, progress)
    if plan is None:
        # TensorRT for RTX 1.7 has no transposed convolution in bfloat16, for one.
        mend = ". Try --precision fp16" if key.precision == "bf16" else ""
        reason = logger(trt).last[:_REASON]
        raise ExportError(f"{trt.__name__} cannot build {bundle.path}: {reason}{mend}")
    save_timings()
    return bytes(plan)


def _use_timing_cache(trt: ModuleType, config: Any, key: EngineKey) -> Callable[[], None]:
    """Share kernel timings between builds; gives what saves them. RTX times nothing."""
    if key.flavor == "tensorrt_rtx":
        return lambda: None
    import platformdirs  # a machine with TensorRT for RTX alone may lack it

    name = f"timing-{key.flavor}-{key.version}-{'-'.join(key.compute)}.cache"
    path = platformdirs.user_cache_path("dlkit") / name
    cache = config.create_timing_cache(path.read_bytes() if path.is_file() else b"")
    if not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)

    def save() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, bytes(config.get_timing_cache().serialize()))

    return save


def _inspect(trt: ModuleType, plan: bytes) -> dict[str, int]:
    """Layers by type in the built engine; nothing where no GPU can load it."""
    if no_cuda() is not None:
        return {}
    runtime = trt.Runtime(logger(trt))
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return {}  # built for another GPU than this one
    inspector = engine.create_engine_inspector()
    return inspected_types(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _shapes(
    bundle: Bundle, options: BuildOptions
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    spec = bundle.spec
    batch = options.batch or _BATCH.get(spec.task, (1, 1, 1))
    if not 1 <= batch[0] <= batch[1] <= batch[2]:
        raise UsageError(f"batch is {':'.join(map(str, batch))}, expected MIN:OPT:MAX, rising")

    def shape(images: int, size: Size) -> tuple[int, ...]:
        free = iter(size)
        rounded = [
            axis if isinstance(axis, int) else -(-next(free) // spec.multiple_of) * spec.multiple_of
            for axis in spec.input.shape[1:]
        ]
        return (images, *rounded)

    smallest, best, largest = map(shape, batch, options.size)
    for low, high in ((smallest, best), (best, largest)):
        if any(one > other for one, other in zip(low, high, strict=True)):
            raise UsageError(f"the profile {smallest}, {best}, {largest} does not rise")
    return smallest, best, largest


def _member(compute: str) -> str:
    """Name of a compute capability in the bindings: 8.6 is SM86."""
    return "SM" + compute.replace(".", "")
